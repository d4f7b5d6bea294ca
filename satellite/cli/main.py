"""The commands of `satellite`; what each does is in the module it calls.

Modules are imported inside the commands, so that `satellite --help` is there at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from satellite.cli.console import console, foreseen_errors, load_settings, print_json
from satellite.cli.keys import keys
from satellite.cli.simulate import simulate

app = typer.Typer(
    help="Satellite: durable AI inference on Ray Serve.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

db = typer.Typer(help="The database's schema, and what it holds.", no_args_is_help=True)
app.add_typer(db, name="db")
kafka = typer.Typer(help="Kafka's topics, and what is in them.", no_args_is_help=True)
app.add_typer(kafka, name="kafka")
webhooks = typer.Typer(help="Who is told of jobs by HTTP, and what came of it.", no_args_is_help=True)
app.add_typer(webhooks, name="webhooks")
app.add_typer(keys, name="keys")

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Serve config to deploy; default: serve_config.yaml of this checkout."),
]
Data = Annotated[
    str, typer.Option(help="Numbers `1,2,3`, a file `@series.csv` (or .json), or `-` for standard input.")
]
JobId = Annotated[str, typer.Argument(help="What `submit` printed.")]
Version = Annotated[
    str | None, typer.Option("--version", help="Of the model; default: see `satellite versions`.")
]
WebhookId = Annotated[str, typer.Argument(help="See `satellite webhooks list`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Pairs = Annotated[
    list[str] | None, typer.Option("--config", help="A model setting, `key=value`; may be repeated.")
]


@app.command()
def up(
    config: ConfigFile = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay attached; Ctrl-C stops everything.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the whole system, and return when it is ready."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import lifecycle
        from satellite.cli.state import Paths

        settings = load_settings()
        started = lifecycle.start(settings, config or settings.root / "serve_config.yaml")
        state = started.state
        if as_json:
            print_json(lifecycle.summary(started))
        if not started.by_us:
            console.print("[green]Already up.[/]")
        elif state.ready_at is not None:
            console.print(f"[green]Ready after {state.ready_at - state.started_at:.1f} s.[/]")
        if not as_json:
            lifecycle.print_addresses(state, Paths(settings.home))
        if not (foreground and started.by_us):
            started.keep()
            console.print(
                "See it work: `make demo`. Stop it: `make down` (or `satellite demo`, `satellite down`)."
            )
            return
        console.print("Stop it with Ctrl-C.")
        lifecycle.stay_attached(settings, started)


@app.command()
def down(as_json: AsJson = False) -> None:
    """Stop the system, and clean up after a crash."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import lifecycle

        done = lifecycle.down(load_settings())
        if as_json:
            print_json({"detail": done})
        else:
            console.print(done)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show every part: state, address, uptime, memory. Exit code 0: all well, 1: degraded, 3: not running."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import status as view

        raise typer.Exit(view.show(load_settings(), as_json=as_json))


@app.command()
def logs(
    part: Annotated[
        str | None, typer.Argument(help="supervisor, postgres, redis, ray or serve; default: all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines arrive.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each file.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the last log lines of one part, or of all."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import logs as view

        view.show(load_settings(), part=part, follow=follow, lines=lines, as_json=as_json)


@app.command()
def deploy(
    file: Annotated[Path | None, typer.Argument(help="Serve config; default: serve_config.yaml.")] = None,
    dashboard: Annotated[
        str | None,
        typer.Option(help="Address of the Ray dashboard of a cluster that `satellite up` did not start."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hand a Serve config to the running system, and wait until it runs."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import deploy as action

        settings = load_settings()
        deployed = action.deploy(
            settings, file or settings.root / "serve_config.yaml", dashboard_url=dashboard
        )
        if as_json:
            print_json(deployed)


@app.command()
def scale(
    model: Annotated[str, typer.Argument(help="The model's name; see `satellite models`.")],
    replicas: Annotated[str, typer.Argument(help="A number, or `auto`: as its config says.")],
    dashboard: Annotated[
        str | None,
        typer.Option(help="Address of the Ray dashboard of a cluster that `satellite up` did not start."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a model a number of replicas by hand, until the next deploy."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import scale as action

        bounds = action.scale(load_settings(), model, replicas, dashboard_url=dashboard)
        if as_json:
            print_json(bounds)


@app.command()
def head(
    config: ConfigFile = None,
    address: Annotated[
        str, typer.Option(help="Of this machine, as the cluster's other nodes reach it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where they join.")] = 6379,
    as_json: AsJson = False,
) -> None:
    """Run the head node of a cluster, and deploy to it; for containers and machines of one's own."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import node

        settings = load_settings()
        raise typer.Exit(
            node.head(settings, config or settings.root / "serve_config.yaml", address=address, port=port)
        )


@app.command()
def worker(
    head: Annotated[str, typer.Argument(help="HOST:PORT where `satellite head` runs.")],
    address: Annotated[
        str | None, typer.Option(help="Of this machine, as the others reach it; default: Ray finds it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a further node of a cluster."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import node

        node.worker(load_settings(), head, address=address)


@app.command()
def demo(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Forecast a public time series: starts the system if it is not up, and stops what it started."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import demo as show

        settings = load_settings()
        show.run(settings, config or settings.root / "serve_config.yaml", as_json=as_json)


@app.command()
def monitor(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where Prometheus listens.")] = 9090,
    as_json: AsJson = False,
) -> None:
    """Run the installed Prometheus against the running system, until Ctrl-C."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import monitor as show

        show.run(load_settings(), port, as_json=as_json)


@app.command()
def submit(
    model: Annotated[str, typer.Argument(help="The model's name; see `satellite models`.")],
    data: Data,
    config: Pairs = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result.")] = False,
    priority: Annotated[
        int | None, typer.Option(min=0, max=9, help="9 is the most urgent; default: 4.")
    ] = None,
    deadline_s: Annotated[
        float | None, typer.Option("--deadline-s", help="Seconds: if it has not started by then, it expires.")
    ] = None,
    run_at: Annotated[
        str | None, typer.Option("--run-at", help="Not before this time, such as 2026-01-05T12:00:00Z.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="`key=value`, to find it by; may be repeated.")
    ] = None,
    max_attempts: Annotated[
        int | None,
        typer.Option("--max-attempts", min=1, max=20, help="Default: what the model's config says."),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="Sent again with this key, it is the same job.")
    ] = None,
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job; prints its id, or with --wait its result."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import inference

        inference.submit(
            load_settings(),
            model,
            data,
            config or [],
            wait=wait,
            job_fields={
                "model_version": version,
                "priority": priority,
                "deadline_s": deadline_s,
                "run_at": run_at,
                "labels": inference.parse_labels(label) if label else None,
                "max_attempts": max_attempts,
            },
            idempotency_key=idempotency_key,
            as_json=as_json,
        )


@app.command()
def result(
    job_id: JobId,
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0, help="Seconds to wait for the end of the job.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Print a job's status and result as JSON. Exit code 1: it ended without success."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import inference

        inference.result(load_settings(), job_id, wait_s=wait_s)


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="The model's name; see `satellite models`.")],
    data: Data,
    config: Pairs = None,
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Run a model now and print its result as JSON."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import inference

        inference.predict(load_settings(), model, data, config or [], version=version)


@app.command()
def batch(
    file: Annotated[
        Path, typer.Argument(help="One JSON object a line: custom_id, model_name, data, config ...")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The results, one JSON object a line.")],
    model: Annotated[str | None, typer.Option("--model", help="For lines without model_name.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Jobs under way at a time.")] = 32,
    as_json: AsJson = False,
) -> None:
    """Run every line of a file as a job. Started again after a kill, it goes on where it was."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import batch as action

        action.run(load_settings(), file, output, model=model, concurrency=concurrency, as_json=as_json)


app.command()(simulate)


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models that are deployed."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import inference

        inference.models(load_settings(), as_json=as_json)


@app.command("new-model")
def new_model(
    name: Annotated[str, typer.Argument(help="What callers will put in `model_name`.")],
    into: Annotated[
        Path | None,
        typer.Option(
            help="Folder; default: the first of SATELLITE_MODELS_PATH, else models/ of this checkout."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a model that works, its test and its config, for you to change."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import new_model as action

        action.create(load_settings(), name, into, as_json=as_json)


@app.command("check-model")
def check_model(
    name: Annotated[str, typer.Argument(help="The model's name, or its file `x.py`.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Hold a model to its contract, and measure it. Exit code 0: it holds, 1: it does not."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import check_model as view

        raise typer.Exit(view.run(load_settings(), name, device=device, as_json=as_json))


@app.command()
def versions(
    model: Annotated[str, typer.Argument(help="The model's name; see `satellite models`.")],
    default: Annotated[
        str | None, typer.Option("--set-default", help="Let this version answer where none is named.")
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the default before the last change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List a model's versions; with an option, change which of them is the default first."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import versions as view

        view.versions(load_settings(), model, default=default, rollback=rollback, as_json=as_json)


@app.command()
def jobs(
    model: Annotated[str | None, typer.Option("--model", help="Only of this model.")] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", help="Only in this state; may be repeated.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Only with `key=value`; repeated: with all of them.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Jobs at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import jobs as view

        view.list_jobs(
            load_settings(),
            model=model,
            statuses=status or [],
            labels=label or [],
            limit=limit,
            as_json=as_json,
        )


@app.command()
def explain(job_id: JobId, as_json: AsJson = False) -> None:
    """Show where a job's time went, why its batch left, and its attempts."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import jobs as view

        view.explain(load_settings(), job_id, as_json=as_json)


@app.command()
def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Cancel a job. One that waits never runs; of one that runs the result is discarded."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import jobs as action

        action.cancel(load_settings(), job_id, as_json=as_json)


@app.command()
def retry(
    job_id: Annotated[str | None, typer.Argument(help="A job that has ended.")] = None,
    dead: Annotated[
        bool, typer.Option("--dead", help="All dead jobs not repeated yet, oldest first.")
    ] = False,
    model: Annotated[str | None, typer.Option("--model", help="With --dead: only of this model.")] = None,
    error_code: Annotated[
        str | None,
        typer.Option("--error-code", help="With --dead: only with this error, such as replica_died."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, max=1000, help="With --dead: so many at most; default: 100."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Repeat a job as a new one, and print its id; or with --dead many, and print old and new id of each."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import jobs as action

        settings = load_settings()
        action.check_retry(job_id, dead=dead, filtered=bool(model or error_code or limit))
        if job_id is not None:
            action.retry(settings, job_id, as_json=as_json)
        else:
            action.retry_dead(settings, model=model, error_code=error_code, limit=limit, as_json=as_json)


@app.command()
def openapi(
    markdown: Annotated[bool, typer.Option("--markdown", help="As docs/API_REFERENCE.md.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the OpenAPI document of the shipped models, which is JSON anyway. No system need run."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import openapi as view

        view.show(markdown=markdown)


@webhooks.command("list")
def webhooks_list(as_json: AsJson = False) -> None:
    """List the endpoints."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as view

        view.list_endpoints(load_settings(), as_json=as_json)


@webhooks.command("add")
def webhooks_add(
    url: Annotated[str, typer.Argument(help="Where to POST to.")],
    event: Annotated[
        list[str] | None,
        typer.Option("--event", help="Such as job.failed; may be repeated; default: every end of a job."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only jobs of this model.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register an endpoint; prints its id and the secret that signs its messages."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as action

        action.add(load_settings(), url, events=event or [], model=model, as_json=as_json)


@webhooks.command("remove")
def webhooks_remove(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Delete an endpoint, with what waits for it and the log of its deliveries."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as action

        action.remove(load_settings(), webhook_id)
        if as_json:
            print_json({"id": webhook_id})


@webhooks.command("test")
def webhooks_test(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Send a test event; prints the delivery's id."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as action

        action.test(load_settings(), webhook_id, as_json=as_json)


@webhooks.command("deliveries")
def webhooks_deliveries(
    webhook_id: WebhookId,
    status: Annotated[
        str | None, typer.Option("--status", help="pending, delivered or failed; default: all.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="Deliveries at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List deliveries to an endpoint, newest first, with what came of them."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as view

        view.deliveries(load_settings(), webhook_id, status=status, limit=limit, as_json=as_json)


@webhooks.command("redeliver")
def webhooks_redeliver(
    webhook_id: WebhookId,
    delivery_id: Annotated[str, typer.Argument(help="See `satellite webhooks deliveries`.")],
    as_json: AsJson = False,
) -> None:
    """Send a delivery again, at once and with all its tries."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as action

        action.redeliver(load_settings(), webhook_id, delivery_id, as_json=as_json)


@db.command("upgrade")
def db_upgrade(as_json: AsJson = False) -> None:
    """Bring the schema up to date. Safe to run twice, and while ingresses run."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import db as action

        action.upgrade(load_settings(), as_json=as_json)


@db.command("status")
def db_status(as_json: AsJson = False) -> None:
    """Show schema, jobs, days, sizes, ingresses. Exit code 0: schema up to date, 1: not, 2: no database."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import db as view

        raise typer.Exit(view.status(load_settings(), as_json=as_json))


@kafka.command("topics")
def kafka_topics(
    create: Annotated[bool, typer.Option("--create", help="Make those that are missing.")] = False,
    partitions: Annotated[int, typer.Option(min=1, help="Of each topic that is made.")] = 6,
    replication: Annotated[
        int, typer.Option(help="Copies of each topic that is made; -1: as the brokers are set.")
    ] = -1,
    as_json: AsJson = False,
) -> None:
    """Show the topics, or make them; exit code 1 if one is missing."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import kafka as commands

        code = commands.topics(
            load_settings(), create=create, partitions=partitions, replication=replication, as_json=as_json
        )
        raise typer.Exit(code)


@kafka.command("lag")
def kafka_lag(as_json: AsJson = False) -> None:
    """Show how far what comes in has been read, and what leaves has been sent."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import kafka as commands

        commands.lag(load_settings(), as_json=as_json)


@kafka.command("tail")
def kafka_tail(
    topic: Annotated[str, typer.Argument(help="jobs, rejected, results or events.")] = "results",
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many.")] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Not only what comes from now on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print messages of a topic as they come; Ctrl-C ends it."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import kafka as commands

        commands.tail(load_settings(), topic, count=count, from_beginning=from_beginning, as_json=as_json)


@kafka.command("produce")
def kafka_produce(
    file: Annotated[
        Path | None, typer.Argument(help="One JSON message a line; left out: standard input.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The messages' key: those of one key keep their order.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send messages to the topic of jobs."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import kafka as commands

        commands.produce(load_settings(), file, key=key, as_json=as_json)


@kafka.command("schema")
def kafka_schema(
    topic: Annotated[str, typer.Argument(help="jobs, results or events.")] = "jobs",
    as_json: AsJson = False,
) -> None:
    """Print the JSON Schema of a topic's messages, which is JSON anyway."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import kafka as commands

        commands.print_schema(topic)
