import { Anchor, Group, Loader, Stack, Text } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { Schemas } from "@/api/client";
import { jobResultQuery, jobTimesQuery } from "@/api/inference";
import type { JobMessage } from "@/api/live";
import { useFallbackInterval, useLive } from "@/api/live-hooks";
import { ErrorState } from "@/components/ErrorState";
import { Facts } from "@/components/Facts";
import { type JobStatus, StatusBadge } from "@/components/StatusBadge";
import { useFormat } from "@/i18n/format";
import { Output } from "./Answer";

/** A job from its acceptance to its end, as it happens. */
export function JobAnswer({ accepted, data }: { accepted: Schemas["Accepted"]; data: unknown }) {
  const { t } = useTranslation("playground");
  const { job_id } = accepted;
  const queries = useQueryClient();
  const [steps, setSteps] = useState<readonly JobMessage[]>([]);
  const fallback = useFallbackInterval();
  const { data: job, error } = useQuery({
    ...jobResultQuery(job_id),
    refetchInterval: (query) => (query.state.data?.finished_at ? false : fallback),
  });

  // The whole job comes with its last step; without the socket the query finds it.
  useLive(job?.finished_at && steps.length > 0 ? null : { job_id }, (message) => {
    if (message.type !== "job") return;
    setSteps((known) => (known.some(({ id }) => id === message.id) ? known : [...known, message]));
    if (message.job) queries.setQueryData(jobResultQuery(job_id).queryKey, message.job);
  });

  return (
    <Stack gap="sm">
      <Steps accepted={accepted} steps={steps} job={job} />
      <Group gap="xs">
        <Anchor href={`#/jobs/${job_id}`} size="sm">
          {t("job.open")}
        </Anchor>
        <Text size="xs" c="dimmed" ff="monospace">
          {job_id}
        </Text>
      </Group>
      {error && !job && <ErrorState error={error} />}
      {job?.finished_at ? (
        <>
          <Times job_id={job_id} />
          <Output result={job} data={data} />
        </>
      ) : (
        <Group gap="xs" role="status">
          <Loader size="xs" />
          <Text size="sm" c="dimmed">
            {t("job.underWay")}
          </Text>
        </Group>
      )}
    </Stack>
  );
}

interface StepsProps {
  accepted: Schemas["Accepted"];
  steps: readonly JobMessage[];
  job: Schemas["JobResult"] | undefined;
}

/** The job's states so far, each with the time since its acceptance. */
function Steps({ accepted, steps, job }: StepsProps) {
  const { t } = useTranslation("playground");
  const format = useFormat();
  const shown: { status: JobStatus; at: string; attempt: number }[] =
    steps.length > 0
      ? [...steps]
      : [{ status: accepted.status, at: accepted.created_at, attempt: 1 }];
  // Without the socket the job itself tells how it ended.
  if (job?.finished_at && shown.at(-1)?.status !== job.status) {
    shown.push({ status: job.status, at: job.finished_at, attempt: job.attempt });
  }
  const began = Date.parse(accepted.created_at);
  return (
    <Group component="ol" gap="xs" m={0} p={0} aria-label={t("job.steps")} aria-live="polite">
      {shown.map(({ status, at, attempt }, index) => (
        <Group
          key={`${status}-${attempt}-${at}`}
          component="li"
          gap={6}
          style={{ listStyle: "none" }}
          fz="sm"
        >
          {index > 0 && <span aria-hidden>→</span>}
          <StatusBadge status={status} />
          <Text size="xs" c="dimmed" className="numbers">
            {`+${format.duration(Math.max(0, Date.parse(at) - began) / 1000)}`}
            {attempt > 1 && ` · ${t("job.attempt", { attempt })}`}
          </Text>
        </Group>
      ))}
    </Group>
  );
}

const PARTS = ["queue", "version_load", "batch_fill", "compute", "recording"] as const;

/** Where the time went, and where the job was computed. */
function Times({ job_id }: { job_id: string }) {
  const { t } = useTranslation("playground");
  const format = useFormat();
  const { data: times } = useQuery(jobTimesQuery(job_id));
  if (!times) return null;
  const { batch, parts_s, model_version, total_s } = times;
  return (
    <Facts
      inline
      facts={[
        [t("times.total"), format.duration(total_s)],
        ...PARTS.map(
          (part) =>
            [
              t(`times.${part}`),
              parts_s[part] === undefined ? null : format.duration(parts_s[part]),
            ] as const,
        ),
        [t("times.batch"), batch && format.number(batch.size)],
        [t("times.replica"), batch?.replica_id ?? null],
        [t("answer.version"), model_version],
      ]}
    />
  );
}
