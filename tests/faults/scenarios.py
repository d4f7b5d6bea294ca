"""What is tested: each scenario is a load, what happens during it, and how soon all must be well again.

Two times are measured from the first fault of a scenario, by the moments at which ends are recorded in the
database, over plain jobs (`echo` and `sleep`):

- *new work*: until a job that was submitted after the fault has ended;
- *old work*: until every job that was accepted before the fault, and not for later, has ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.faults import faults
from tests.faults.faults import Target
from tests.faults.load import Load

Fault = Callable[[Target], Awaitable[None]]
Strikes = tuple[tuple[float, Fault], ...]  # seconds after the load began, what
USUAL = Load()
# Something is being computed at any moment, so that a kill hits it.
BUSY = Load(jobs=200, sleeping=0.4, sleep_s=(0.1, 0.25))
# The probe has one replica: while it is gone, jobs pile up behind it.
KILLED_REPLICA_S = 10.0
# What the dead replica held runs again one by one, and then what has piled up meanwhile.
BACKLOG_S = 5.0
# A lease of 15 s, the heartbeat after it, and the jobs themselves.
KILLED_INGRESS_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing that happens to the system under load."""

    name: str
    about: str
    strikes: Strikes = ()
    load: Load = USUAL
    new_work_s: float  # the longest time to recover
    old_work_s: float
    messages: int = 60  # that come in through Kafka meanwhile, where there is one
    needs_kafka: bool = False
    short: bool = False  # part of `make test`


def at(at_s: float, *what: Fault) -> Strikes:
    """All of them at one moment."""
    return tuple((at_s, fault) for fault in what)


def again(fault: Fault, *, at_s: Sequence[float]) -> Strikes:
    """The same one several times."""
    return tuple((moment_s, fault) for moment_s in at_s)


SCENARIOS = (
    Scenario(
        name="calm",
        about="nothing happens",
        new_work_s=5,
        old_work_s=5,
    ),
    Scenario(
        name="replica-killed",
        about="SIGKILL of the model's only replica",
        strikes=at(3.0, faults.kill_replicas),
        load=BUSY,
        new_work_s=KILLED_REPLICA_S,
        old_work_s=KILLED_REPLICA_S + BACKLOG_S,
        short=True,
    ),
    Scenario(
        name="ingress-killed",
        about="SIGKILL of one of two ingresses",
        strikes=at(3.0, faults.kill_ingress),
        load=BUSY,
        new_work_s=KILLED_INGRESS_S,
        old_work_s=KILLED_INGRESS_S,
        short=True,
    ),
    Scenario(
        name="controller-killed",
        about="SIGKILL of Serve's controller",
        strikes=at(3.0, faults.kill_controller),
        new_work_s=5,
        old_work_s=10,
    ),
    Scenario(
        name="haproxy-killed",
        about="SIGKILL of the front door",
        strikes=at(3.0, faults.kill_haproxy),
        load=Load(duration_s=15),
        new_work_s=15,
        old_work_s=10,
    ),
    Scenario(
        name="ingress-paused",
        about="SIGSTOP of one ingress past its lease, then SIGCONT",
        strikes=at(3.0, faults.pause_ingress),
        load=Load(jobs=300, duration_s=28, sleeping=0.6, sleep_s=(0.2, 0.6)),  # it holds some when it stops
        new_work_s=KILLED_INGRESS_S,
        old_work_s=faults.PAUSE_S + 15,  # what is tried again waits behind newer jobs of a higher priority
    ),
    Scenario(
        name="postgres-restarted",
        about="a fast shutdown of PostgreSQL; its supervisor starts it again",
        strikes=at(3.0, faults.restart_postgres),
        new_work_s=15,
        old_work_s=15,
        short=True,
    ),
    Scenario(
        name="postgres-crashed",
        about="an immediate shutdown of PostgreSQL: it recovers from its log",
        strikes=at(3.0, faults.crash_postgres),
        new_work_s=15,
        old_work_s=15,
    ),
    Scenario(
        name="backends-terminated",
        about="every connection to PostgreSQL is ended, three times",
        strikes=again(faults.terminate_backends, at_s=(2.0, 3.5, 5.0)),
        new_work_s=10,
        old_work_s=15,
    ),
    Scenario(
        name="redis-killed",
        about="SIGKILL of Redis; its supervisor starts it again, empty",
        strikes=at(3.0, faults.kill_redis),
        new_work_s=5,
        old_work_s=10,
    ),
    Scenario(
        name="redis-flushed",
        about="FLUSHALL, three times",
        strikes=again(faults.flush_redis, at_s=(2.0, 4.0, 6.0)),
        new_work_s=5,
        old_work_s=10,
    ),
    Scenario(
        name="poison",
        about="a job that ends the process it runs in",
        strikes=at(3.0, faults.submit_poison),
        load=Load(duration_s=15),
        new_work_s=2 * KILLED_REPLICA_S,  # it comes before them, and may be tried twice more
        old_work_s=4 * KILLED_REPLICA_S,
    ),
    Scenario(
        name="redeployed",
        about="new resources for the model and the ingress: their replicas are replaced",
        strikes=at(3.0, faults.redeploy),
        load=Load(duration_s=20),
        new_work_s=10,
        old_work_s=20,
    ),
    Scenario(
        name="callers-hang-up",
        about="fifty callers leave during the group commits of the others, twice",
        strikes=again(faults.hang_up_together, at_s=(2.0, 4.0)),
        load=Load(hanging_up=0.2),
        new_work_s=5,
        old_work_s=10,
        short=True,
    ),
    Scenario(
        name="replica-and-ingress-killed",
        about="SIGKILL of the model's replica and of one ingress at once",
        strikes=at(3.0, faults.kill_replicas, faults.kill_ingress),
        load=BUSY,
        new_work_s=KILLED_INGRESS_S,
        old_work_s=KILLED_INGRESS_S + KILLED_REPLICA_S,
    ),
    Scenario(
        name="postgres-and-ingress-killed",
        about="PostgreSQL crashes and one ingress is killed at once",
        strikes=at(3.0, faults.crash_postgres, faults.kill_ingress),
        new_work_s=15,
        old_work_s=KILLED_INGRESS_S + 10,
    ),
    Scenario(
        name="redis-and-replica-killed",
        about="SIGKILL of Redis and of the model's replica at once",
        strikes=at(3.0, faults.kill_redis, faults.kill_replicas),
        load=BUSY,
        new_work_s=KILLED_REPLICA_S + BACKLOG_S,
        old_work_s=KILLED_REPLICA_S + 2 * BACKLOG_S,
    ),
    Scenario(
        name="broker-killed",
        about="SIGKILL of the Kafka broker, which starts again",
        strikes=at(3.0, faults.kill_broker),
        messages=300,
        new_work_s=5,
        old_work_s=15,
        needs_kafka=True,
        short=True,
    ),
    Scenario(
        name="consumer-killed",
        about="SIGKILL of the consumer",
        strikes=at(3.0, faults.kill_consumer),
        messages=600,
        load=Load(duration_s=15),
        new_work_s=5,
        old_work_s=15,
        needs_kafka=True,
    ),
    Scenario(
        name="consumer-added",
        about="a second consumer joins the group",
        strikes=at(2.0, faults.add_consumer),
        messages=600,
        load=Load(duration_s=15),
        new_work_s=5,
        old_work_s=15,
        needs_kafka=True,
    ),
    Scenario(
        name="consumer-and-ingress-killed",
        about="SIGKILL of the consumers and of one ingress at once",
        strikes=at(3.0, faults.kill_consumer, faults.kill_ingress),
        messages=300,
        load=BUSY,
        new_work_s=KILLED_INGRESS_S,
        old_work_s=KILLED_INGRESS_S,
        needs_kafka=True,
    ),
    Scenario(
        name="backlog",
        about="everything is submitted within two seconds, then the replica is killed",
        strikes=at(2.5, faults.kill_replicas),
        load=Load(jobs=600, duration_s=2),
        new_work_s=60,
        old_work_s=60,
    ),
)
