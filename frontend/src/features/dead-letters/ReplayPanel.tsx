import { Button, Group, Progress as ProgressBar, Stack, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { type JobStatus, STATUSES } from "@/api/jobs";
import { ErrorState } from "@/components/ErrorState";
import { JobLink, Outcomes } from "@/components/Outcomes";
import { StatusBadge } from "@/components/StatusBadge";
import { useFormat } from "@/i18n/format";
import type { Progress } from "./replay";
import { useStates } from "./states";

interface ReplayPanelProps {
  model: string;
  progress: Progress;
  onStop: () => void;
  onClose: () => void;
}

/** How a replay goes on, what became of each dead job, and what becomes of the new ones. */
export function ReplayPanel({ model, progress, onStop, onClose }: ReplayPanelProps) {
  const { t } = useTranslation("deadLetters");
  const { t: common } = useTranslation();
  const format = useFormat();
  const { total, replayed, problems, error, over } = progress;
  const ids = replayed.map(({ job_id }) => job_id);
  const states = useStates(model, ids);
  const statusOf = (id: string): JobStatus => states.get(id) ?? "queued";

  const counts = new Map<JobStatus, number>();
  for (const id of ids) counts.set(statusOf(id), (counts.get(statusOf(id)) ?? 0) + 1);
  const lines = [
    ...problems.map(({ parent_id, detail }) => ({
      id: parent_id,
      bad: true,
      text: detail ?? t("already"),
    })),
    ...replayed.map(({ parent_id, job_id }) => ({
      id: parent_id,
      bad: false,
      text: (
        <Group component="span" gap={6} display="inline-flex">
          {t("as")} <JobLink id={job_id} /> <StatusBadge status={statusOf(job_id)} />
        </Group>
      ),
    })),
  ];
  return (
    <Stack gap="xs" mt="xs">
      <ProgressBar
        value={total === 0 ? 100 : (100 * (replayed.length + problems.length)) / total}
        animated={!over}
        aria-label={t("progress")}
        color={problems.length > 0 || error ? "orange" : "blue"}
      />
      <Group justify="space-between" gap="xs">
        <Text size="sm" className="numbers" aria-live="polite">
          {t(over ? "done" : "going", {
            replayed: format.number(replayed.length),
            total: format.number(total),
            problems: format.number(problems.length),
          })}
        </Text>
        <Button size="compact-sm" fz="xs" variant="default" onClick={over ? onClose : onStop}>
          {over ? common("close") : t("stop")}
        </Button>
      </Group>
      {error && <ErrorState error={error} title={t("broken")} />}
      <Group gap="md" fz="sm">
        {STATUSES.filter((status) => counts.has(status)).map((status) => (
          <Group key={status} gap={5}>
            <StatusBadge status={status} />
            <span className="numbers">{format.number(counts.get(status) ?? 0)}</span>
          </Group>
        ))}
      </Group>
      <Outcomes lines={lines} />
    </Stack>
  );
}
