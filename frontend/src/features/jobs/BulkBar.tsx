import { Button, Group, Modal, Progress, Stack, Text } from "@mantine/core";
import { IconBan, IconRepeat, IconX } from "@tabler/icons-react";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { forEachOf, type Outcome } from "@/api/each";
import { type CancelVerdict, cancelJobs, MAX_IDS, retryJob } from "@/api/jobs";
import { useErrorText } from "@/components/ErrorState";
import { Needs } from "@/components/Needs";
import { JobLink, type OutcomeLine, Outcomes } from "@/components/Outcomes";
import { useFormat } from "@/i18n/format";

type Action = "cancel" | "retry";

interface Run {
  action: Action;
  total: number;
  lines: readonly OutcomeLine[];
  over: boolean;
}

interface BulkBarProps {
  ids: ReadonlySet<string>;
  onClear: () => void;
}

/** What can be done to the jobs that are chosen, and what became of each. */
export function BulkBar({ ids, onClear }: BulkBarProps) {
  const { t } = useTranslation("jobs");
  const { t: common } = useTranslation();
  const format = useFormat();
  const [run, setRun] = useState<Run | null>(null);
  const abort = useRef<AbortController | null>(null);
  useEffect(() => () => abort.current?.abort(), []);

  async function begin(action: Action) {
    const chosen = [...ids];
    const controller = new AbortController();
    abort.current = controller;
    const begun: Run = { action, total: chosen.length, lines: [], over: false };
    setRun(begun);
    const tell = (lines: OutcomeLine[]) => setRun({ ...begun, lines });
    const work = action === "cancel" ? cancelAll : retryAll;
    await work(chosen, tell, controller.signal);
    setRun((now) => now && { ...now, over: true });
  }

  async function cancelAll(
    chosen: string[],
    tell: (lines: OutcomeLine[]) => void,
    signal: AbortSignal,
  ) {
    const pages = Array.from({ length: Math.ceil(chosen.length / MAX_IDS) }, (_, page) =>
      chosen.slice(page * MAX_IDS, (page + 1) * MAX_IDS),
    );
    const ofVerdict = ({ job_id, status, problem }: CancelVerdict): OutcomeLine => ({
      id: job_id,
      bad: Boolean(problem),
      text:
        problem?.detail ??
        (status === "cancelled" ? common("status.cancelled") : t("bulk.cancelAsked")),
    });
    const show = (outcomes: readonly Outcome<string[], CancelVerdict[]>[]) =>
      tell(
        outcomes.flatMap(({ item, value, error }) =>
          value ? value.map(ofVerdict) : item.map((id) => failed(id, error)),
        ),
      );
    await forEachOf(pages, cancelJobs, show, signal, 1);
  }

  async function retryAll(
    chosen: string[],
    tell: (lines: OutcomeLine[]) => void,
    signal: AbortSignal,
  ) {
    await forEachOf(
      chosen,
      (id) => retryJob(id),
      (outcomes) =>
        tell(
          outcomes.map(({ item, value, error }) =>
            value
              ? { id: item, bad: false, text: <JobLinkTo id={value.job_id} /> }
              : failed(item, error),
          ),
        ),
      signal,
    );
  }

  const bad = run?.lines.filter((line) => line.bad).length ?? 0;
  return (
    <>
      {ids.size > 0 && (
        <Group gap="xs" role="toolbar" aria-label={t("bulk.label")}>
          <Text size="sm" fw={500} className="numbers">
            {t("bulk.selected", { count: ids.size, n: format.number(ids.size) })}
          </Text>
          <Needs scope="submit">
            <Button
              size="compact-sm"
              fz="xs"
              variant="default"
              leftSection={<IconBan size={14} />}
              onClick={() => void begin("cancel")}
            >
              {t("cancel")}
            </Button>
          </Needs>
          <Needs scope="submit">
            <Button
              size="compact-sm"
              fz="xs"
              variant="default"
              leftSection={<IconRepeat size={14} />}
              onClick={() => void begin("retry")}
            >
              {t("retry")}
            </Button>
          </Needs>
          <Button
            size="compact-sm"
            fz="xs"
            variant="subtle"
            leftSection={<IconX size={14} />}
            onClick={onClear}
          >
            {t("bulk.clear")}
          </Button>
        </Group>
      )}
      <Modal
        opened={run !== null}
        onClose={() => {
          abort.current?.abort();
          setRun(null);
        }}
        title={run && t(`bulk.title.${run.action}`, { count: run.total })}
        size="lg"
      >
        {run && (
          <Stack gap="sm">
            <Progress
              value={(100 * run.lines.length) / run.total}
              aria-label={t("bulk.progress")}
              color={run.over && bad > 0 ? "orange" : "blue"}
            />
            <Group justify="space-between">
              <Text size="sm" className="numbers" aria-live="polite">
                {t("bulk.done", {
                  done: format.number(run.lines.length - bad),
                  total: format.number(run.total),
                  bad: format.number(bad),
                })}
              </Text>
              {!run.over && (
                <Button
                  size="compact-sm"
                  fz="xs"
                  variant="default"
                  onClick={() => abort.current?.abort()}
                >
                  {t("bulk.stop")}
                </Button>
              )}
            </Group>
            <Outcomes lines={run.lines} />
          </Stack>
        )}
      </Modal>
    </>
  );
}

function failed(id: string, error: Error | undefined): OutcomeLine {
  return { id, bad: true, text: error && <ErrorText error={error} /> };
}

function ErrorText({ error }: { error: Error }) {
  return useErrorText(error);
}

function JobLinkTo({ id }: { id: string }) {
  const { t } = useTranslation("jobs");
  return (
    <>
      {t("bulk.again")} <JobLink id={id} />
    </>
  );
}
