import { Alert, Button, Group, Modal, Skeleton, Stack, Text } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError } from "@/api/client";
import { type Accepted, type Edits, type JobDetail, jobQuery, retryJob } from "@/api/jobs";
import { ErrorState, useErrorText } from "./ErrorState";
import { isJson, JsonEditor } from "./JsonEditor";
import { formatJson } from "./JsonView";

interface ResubmitProps {
  /** The job to repeat; null: none, and nothing is shown. */
  jobId: string | null;
  onClose: () => void;
  onAccepted: (accepted: Accepted) => void;
}

/** Repeat a job that has ended, with whatever is changed in what it was given. */
export function Resubmit({ jobId, onClose, onAccepted }: ResubmitProps) {
  const { t } = useTranslation();
  return (
    <Modal opened={jobId !== null} onClose={onClose} title={t("resubmit.title")} size="xl">
      {jobId !== null && <Loaded jobId={jobId} onClose={onClose} onAccepted={onAccepted} />}
    </Modal>
  );
}

function Loaded({ jobId, ...rest }: { jobId: string } & Omit<ResubmitProps, "jobId">) {
  const { data, error, refetch } = useQuery(jobQuery(jobId));
  if (error && !data) return <ErrorState error={error} onRetry={() => void refetch()} />;
  return data ? <Editor job={data} {...rest} /> : <Skeleton h={200} />;
}

function Editor({ job, onClose, onAccepted }: { job: JobDetail } & Omit<ResubmitProps, "jobId">) {
  const { t } = useTranslation();
  const [text, setText] = useState(() => formatJson(repeatable(job)));
  const submit = useMutation({
    mutationFn: (edits: Edits) => retryJob(job.job_id, edits),
    onSuccess: onAccepted,
  });
  const { error, reset } = submit;
  const mistakes = error instanceof ApiError ? (error.problem?.errors ?? []) : [];

  // biome-ignore lint/correctness/useExhaustiveDependencies: what was wrong with another text is no longer said.
  useEffect(reset, [text]);

  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">
        {t("resubmit.hint")}
      </Text>
      <JsonEditor label={t("resubmit.label")} value={text} onChange={setText} mistakes={mistakes} />
      {error && mistakes.length === 0 && <Refused error={error} />}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" size="xs" onClick={onClose}>
          {t("close")}
        </Button>
        <Button
          size="xs"
          loading={submit.isPending}
          disabled={!isJson(text)}
          onClick={() => submit.mutate(JSON.parse(text) as Edits)}
        >
          {t("resubmit.submit")}
        </Button>
      </Group>
    </Stack>
  );
}

function Refused({ error }: { error: Error }) {
  return (
    <Alert color="red" variant="light" role="alert" py={6}>
      {useErrorText(error)}
    </Alert>
  );
}

/** What of a job a repeat is given, as the API takes it; a time that is over is left to be set anew. */
export function repeatable(job: JobDetail): Edits {
  return {
    data: job.data,
    config: job.config,
    ...(job.requested_version === null ? {} : { model_version: job.requested_version }),
    priority: job.priority,
    labels: job.labels,
    max_attempts: job.max_attempts,
  } as Edits;
}
