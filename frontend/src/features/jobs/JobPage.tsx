import { Alert, Anchor, Box, Button, Group, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError, pageUrl } from "@/api/client";
import {
  type Explanation,
  explanationQuery,
  type JobDetail,
  jobQuery,
  repeatsQuery,
} from "@/api/jobs";
import { useFallbackInterval } from "@/api/live-hooks";
import { useKeyHeader } from "@/api/me";
import { CodeLine } from "@/components/CodeLine";
import { EmptyState } from "@/components/EmptyState";
import { ErrorState } from "@/components/ErrorState";
import { type Fact, Facts } from "@/components/Facts";
import { JsonView } from "@/components/JsonView";
import { JobLink } from "@/components/Outcomes";
import { PageTitle } from "@/components/PageTitle";
import { Panel } from "@/components/Panel";
import { RouteLink } from "@/components/RouteLink";
import { SeriesChart } from "@/components/SeriesChart";
import { StatusBadge } from "@/components/StatusBadge";
import { TimeAgo } from "@/components/TimeAgo";
import { useFormat } from "@/i18n/format";
import { JobActions } from "./JobActions";
import classes from "./JobPage.module.css";
import { isJobId } from "./search";
import { useSteps } from "./steps";
import { Timeline } from "./Timeline";

const route = getRouteApi("/jobs/$jobId");

/** Everything that is known of one job. */
export function JobPage() {
  const { jobId } = route.useParams();
  return isJobId(jobId) ? <Known key={jobId} id={jobId} /> : <Unknown id={jobId} />;
}

function Known({ id }: { id: string }) {
  const { t } = useTranslation("jobs");
  const { t: common } = useTranslation();
  const refetchInterval = useFallbackInterval();
  const { data: job, error, refetch } = useQuery({ ...jobQuery(id), refetchInterval });
  if (error instanceof ApiError && error.status === 404) return <Unknown id={id} />;
  if (!job) {
    return error ? (
      <ErrorState error={error} onRetry={() => void refetch()} />
    ) : (
      <Skeleton h={300} aria-label={common("loading")} />
    );
  }
  return (
    <>
      <PageTitle title={t("detail.title", { id: id.slice(-8) })}>
        <JobActions job={job} />
      </PageTitle>
      <Stack gap="sm">
        <Head job={job} />
        {job.error && (
          <Alert color="red" variant="light" title={job.error.title}>
            <Text size="sm" style={{ overflowWrap: "anywhere" }}>
              {job.error.detail}
            </Text>
            <Text size="xs" c="dimmed" ff="monospace">
              {job.error.code}
            </Text>
          </Alert>
        )}
        <Payloads job={job} />
        <Time id={id} />
        <div className={classes.columns}>
          <Steps id={id} />
          <Calls id={id} />
        </div>
        <Raw job={job} />
      </Stack>
    </>
  );
}

function Unknown({ id }: { id: string }) {
  const { t } = useTranslation("jobs");
  return (
    <>
      <PageTitle title={t("detail.title", { id: id.slice(-8) })} />
      <Box className="panel">
        <EmptyState title={t("unknown.title")} hint={t("unknown.hint", { id })}>
          <RouteLink to="/jobs" size="sm">
            {t("unknown.toJobs")}
          </RouteLink>
        </EmptyState>
      </Box>
    </>
  );
}

function Head({ job }: { job: JobDetail }) {
  const { t } = useTranslation("jobs");
  const format = useFormat();
  const { data: repeats } = useQuery(repeatsQuery(job.job_id));
  const labels = Object.entries(job.labels);
  const facts: Fact[] = [
    [t("column.status"), <StatusBadge key="status" status={job.status} />],
    [
      t("column.model"),
      <RouteLink key="model" to="/jobs" search={{ model: job.model_name }} inherit>
        {job.model_name}
      </RouteLink>,
    ],
    [t("column.version"), job.model_version ?? job.requested_version],
    [t("column.created"), <TimeAgo key="created" at={job.created_at} />],
    [t("column.attempts"), `${job.attempt}/${job.max_attempts}`],
    [t("column.batch"), job.batch_size],
    [t("detail.priority"), job.priority],
    [
      t("detail.runAt"),
      job.status === "queued" && job.run_at > job.created_at ? format.moment(job.run_at) : null,
    ],
    [t("detail.deadline"), job.deadline_at && format.moment(job.deadline_at)],
    [t("detail.position"), job.queue_position && format.number(job.queue_position)],
    [t("detail.eta"), job.eta_s === null ? null : format.duration(job.eta_s)],
    [t("detail.parent"), job.parent_id && <JobLink key="parent" id={job.parent_id} />],
    [
      t("detail.repeats"),
      repeats && repeats.length > 0 ? (
        <Group key="repeats" gap={8}>
          {repeats.slice(0, 3).map(({ job_id }) => (
            <JobLink key={job_id} id={job_id} />
          ))}
          {repeats.length > 3 && (
            <RouteLink to="/jobs" search={{ parent: job.job_id }} fz="xs">
              {t("detail.allRepeats")}
            </RouteLink>
          )}
        </Group>
      ) : null,
    ],
    [
      t("column.labels"),
      labels.length === 0 ? null : (
        <Group key="labels" gap={8}>
          {labels.map(([key, value]) => (
            <RouteLink key={key} to="/jobs" search={{ label: [`${key}=${value}`] }} inherit>
              {key}={value}
            </RouteLink>
          ))}
        </Group>
      ),
    ],
  ];
  return (
    <Box className="panel" p="sm">
      <Facts inline facts={facts} />
    </Box>
  );
}

/** What the model was given and what it answered: drawn, if it is a series; else as JSON. */
function Payloads({ job }: { job: JobDetail }) {
  const { t } = useTranslation("jobs");
  const settings = Object.keys(job.config).length > 0 && (
    <Box mt="xs">
      <JsonView value={job.config} label={t("detail.config")} lines={12} />
    </Box>
  );
  if (isSeries(job.data)) {
    return (
      <Panel title={t(job.result === null ? "detail.input" : "detail.inputAndResult")}>
        <SeriesChart title={t("detail.input")} data={job.data} output={job.result} />
        {settings}
      </Panel>
    );
  }
  return (
    <div className={classes.columns}>
      <Panel title={t("detail.input")}>
        <JsonView value={job.data} label={t("detail.input")} lines={20} />
        {settings}
      </Panel>
      <Panel title={t("detail.result")}>
        {job.result === null ? (
          <Text size="sm" c="dimmed">
            {t("detail.noResult")}
          </Text>
        ) : (
          <JsonView value={job.result} label={t("detail.result")} lines={20} />
        )}
      </Panel>
    </div>
  );
}

function isSeries(data: unknown): data is number[] {
  return Array.isArray(data) && data.length > 1 && data.every((one) => typeof one === "number");
}

function Time({ id }: { id: string }) {
  const { t } = useTranslation("jobs");
  const refetchInterval = useFallbackInterval();
  const { data, error, refetch } = useQuery({ ...explanationQuery(id), refetchInterval });
  return (
    <Panel title={t("detail.where")}>
      {error && !data && <ErrorState error={error} onRetry={() => void refetch()} />}
      {data && (
        <Stack gap="sm">
          <Text size="sm" lang="en">
            {data.summary}
          </Text>
          <div>
            <Timeline parts={data.parts_s} total={data.total_s} />
          </div>
          <Batch batch={data.batch} />
          {data.attempts.length > 1 && <Attempts attempts={data.attempts} />}
        </Stack>
      )}
    </Panel>
  );
}

function Batch({ batch }: { batch: Explanation["batch"] }) {
  const { t } = useTranslation("jobs");
  const [all, setAll] = useState(false);
  if (!batch) return null;
  const { mates } = batch;
  return (
    <Facts
      inline
      facts={[
        [t("detail.batchSize"), batch.size],
        [t("detail.left"), t(`flush.${batch.flush_reason}`)],
        [t("detail.replica"), batch.replica_id],
        [
          t("detail.mates"),
          mates.length === 0 ? null : (
            <Group key="mates" gap={8}>
              {(all ? mates : mates.slice(0, 8)).map((mate) => (
                <JobLink key={mate} id={mate} />
              ))}
              {mates.length > 8 && !all && (
                <Anchor component="button" type="button" fz="xs" onClick={() => setAll(true)}>
                  +{mates.length - 8}
                </Anchor>
              )}
            </Group>
          ),
        ],
      ]}
    />
  );
}

function Attempts({ attempts }: { attempts: Explanation["attempts"] }) {
  const { t } = useTranslation("jobs");
  const format = useFormat();
  const heads = ["attempt", "started", "ended", "why", "replica"] as const;
  return (
    <div className={classes.scroll}>
      <table className={classes.plain}>
        <caption>{t("column.attempts")}</caption>
        <thead>
          <tr>
            {heads.map((name) => (
              <th key={name} scope="col">
                {t(`attempt.${name}`)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {attempts.map(({ attempt, started_at, ended_at, code, detail, replica_id }) => (
            <tr key={attempt}>
              <td>{attempt}</td>
              <td>{started_at ? format.time(started_at) : "–"}</td>
              <td>{ended_at ? format.time(ended_at) : "–"}</td>
              <td>{[code, detail].filter(Boolean).join(": ") || "–"}</td>
              <td>{replica_id ?? "–"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Steps({ id }: { id: string }) {
  const { t } = useTranslation("jobs");
  const format = useFormat();
  const steps = useSteps(id);
  return (
    <Panel title={t("detail.events")} note={t("detail.live")}>
      {steps.length === 0 && (
        <Text size="sm" c="dimmed">
          {t("detail.noEvents")}
        </Text>
      )}
      <ol className={classes.steps} aria-live="polite">
        {steps.map(({ id, status, attempt, at }) => (
          <li key={id}>
            <time dateTime={at} title={format.moment(at)}>
              {format.time(at)}
            </time>
            <StatusBadge status={status} />
            <Text size="xs" c="dimmed">
              {t("detail.attempt", { attempt })}
            </Text>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

function Calls({ id }: { id: string }) {
  const { t } = useTranslation("jobs");
  const base = pageUrl(".").href.replace(/\/$/, "");
  const keyHeader = useKeyHeader();
  const url = `'${base}/api/v1/inference/result/${id}?wait_s=30'`;
  const curl = keyHeader === null ? `curl -sS ${url}` : `curl -sS ${keyHeader} ${url}`;
  const python = [
    "import satellite",
    "",
    `with satellite.Client(${JSON.stringify(base)}) as client:`,
    `    print(client.result(${JSON.stringify(id)}).output)`,
  ].join("\n");
  return (
    <Panel title={t("detail.calls")}>
      <Stack gap="xs">
        <CodeLine value={id} label={t("detail.copyId")} />
        <CodeLine value={curl} label={t("detail.copyCurl")} />
        <CodeLine value={python} label={t("detail.copyPython")} />
      </Stack>
    </Panel>
  );
}

function Raw({ job }: { job: JobDetail }) {
  const { t } = useTranslation("jobs");
  const [open, setOpen] = useState(false);
  return (
    <Panel
      title={t("detail.raw")}
      actions={
        <Button
          size="compact-xs"
          variant="subtle"
          aria-expanded={open}
          onClick={() => setOpen(!open)}
        >
          {t(open ? "detail.hide" : "detail.show")}
        </Button>
      }
    >
      {open && <JsonView value={job} lines={60} />}
    </Panel>
  );
}
