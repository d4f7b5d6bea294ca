import { Button, Checkbox, Group, ScrollArea, Stack, Text } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type DeadLetterGroup, deadLettersKey } from "@/api/dead-letters";
import { listJobs } from "@/api/jobs";
import { ErrorState } from "@/components/ErrorState";
import { Needs } from "@/components/Needs";
import { JobLink } from "@/components/Outcomes";
import { TimeAgo } from "@/components/TimeAgo";
import { useFormat } from "@/i18n/format";

const PAGE = 100;

interface DeadJobsProps {
  group: DeadLetterGroup;
  /** Those that were repeated here. */
  gone: ReadonlySet<string>;
  onReplay: (ids: string[]) => void;
  onEdit: (id: string) => void;
}

/** The dead jobs of a group, to choose from. */
export function DeadJobs({ group, gone, onReplay, onEdit }: DeadJobsProps) {
  const { t } = useTranslation("deadLetters");
  const format = useFormat();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const { model_name, error_code } = group;
  const list = useInfiniteQuery({
    queryKey: [...deadLettersKey, "jobs", model_name],
    queryFn: ({ pageParam, signal }) =>
      listJobs({ model_name, status: ["dead"] }, PAGE, pageParam, signal),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next_cursor }) => next_cursor,
  });
  const jobs = (list.data?.pages ?? [])
    .flatMap((page) => page.jobs)
    .filter((job) => job.error?.code === error_code && !gone.has(job.job_id));
  const ids = jobs.map(({ job_id }) => job_id).filter((id) => chosen.has(id));

  function toggle(id: string) {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setChosen(next);
  }

  if (list.error && !list.data) {
    return <ErrorState error={list.error} onRetry={() => void list.refetch()} />;
  }
  return (
    <Stack gap={6}>
      <Group justify="space-between" gap="xs">
        <Text size="xs" c="dimmed">
          {t("chooseHint")}
        </Text>
        <Needs scope="submit">
          <Button
            size="compact-sm"
            fz="xs"
            variant="default"
            disabled={ids.length === 0}
            onClick={() => {
              onReplay(ids);
              setChosen(new Set());
            }}
          >
            {t("replaySelected", { count: ids.length, n: format.number(ids.length) })}
          </Button>
        </Needs>
      </Group>
      <ScrollArea.Autosize mah={280} type="auto">
        <Stack component="ul" gap={2} m={0} p={0}>
          {jobs.map((job) => (
            <Group key={job.job_id} component="li" gap="sm" fz="xs" wrap="nowrap" mih={28}>
              <Checkbox
                size="xs"
                aria-label={t("choose", { id: job.job_id })}
                checked={chosen.has(job.job_id)}
                onChange={() => toggle(job.job_id)}
              />
              <JobLink id={job.job_id} />
              <Text fz="inherit" c="dimmed" style={{ flex: "none" }}>
                <TimeAgo at={job.finished_at ?? job.created_at} />
              </Text>
              <Text fz="inherit" truncate title={job.error?.detail} style={{ flex: 1 }}>
                {job.error?.detail}
              </Text>
              <Needs scope="submit">
                <Button
                  size="compact-sm"
                  fz="xs"
                  variant="subtle"
                  onClick={() => onEdit(job.job_id)}
                >
                  {t("edit")}
                </Button>
              </Needs>
            </Group>
          ))}
        </Stack>
      </ScrollArea.Autosize>
      {list.hasNextPage && (
        <Button
          size="compact-xs"
          variant="subtle"
          style={{ alignSelf: "start" }}
          loading={list.isFetchingNextPage}
          onClick={() => void list.fetchNextPage()}
        >
          {t("more")}
        </Button>
      )}
    </Stack>
  );
}
