import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { IconBan, IconPencil, IconRepeat, IconTrash } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import {
  type Accepted,
  cancelJob,
  deleteJob,
  isTerminal,
  type JobDetail,
  jobKey,
  retryJob,
} from "@/api/jobs";
import { ErrorState } from "@/components/ErrorState";
import { Needs } from "@/components/Needs";
import { Resubmit } from "@/components/Resubmit";

/** What can be done with a job: to cancel it while it goes on; to repeat or delete it once it has ended. */
export function JobActions({ job }: { job: JobDetail }) {
  const { t } = useTranslation("jobs");
  const { t: common } = useTranslation();
  const queries = useQueryClient();
  const navigate = useNavigate();
  const [editing, edit] = useDisclosure();
  const [deleting, confirm] = useDisclosure();
  const { job_id: id } = job;

  const goTo = ({ job_id }: Accepted) => {
    edit.close();
    void queries.invalidateQueries({ queryKey: jobKey(id) });
    notifications.show({ message: t("detail.accepted") });
    void navigate({ to: "/jobs/$jobId", params: { jobId: job_id } });
  };
  const cancel = useMutation({
    mutationFn: () => cancelJob(id),
    onSettled: () => queries.invalidateQueries({ queryKey: jobKey(id) }),
  });
  const retry = useMutation({ mutationFn: () => retryJob(id), onSuccess: goTo });
  const remove = useMutation({
    mutationFn: () => deleteJob(id),
    onSuccess: () => {
      queries.removeQueries({ queryKey: jobKey(id) });
      // A list that shows it is read anew.
      queries.removeQueries({ queryKey: ["jobs", "feed"] });
      notifications.show({ message: t("detail.deleted") });
      void navigate({ to: "/jobs" });
    },
  });
  const error = cancel.error ?? retry.error ?? remove.error;

  return (
    <>
      <Group gap="xs">
        {!isTerminal(job.status) && (
          <Needs scope="submit">
            <Button
              size="xs"
              variant="default"
              leftSection={<IconBan size={14} />}
              loading={cancel.isPending}
              disabled={job.cancel_requested}
              onClick={() => cancel.mutate()}
            >
              {t(job.cancel_requested ? "detail.cancelling" : "cancel")}
            </Button>
          </Needs>
        )}
        {isTerminal(job.status) && (
          <>
            <Needs scope="submit">
              <Button
                size="xs"
                variant="default"
                leftSection={<IconRepeat size={14} />}
                loading={retry.isPending}
                onClick={() => retry.mutate()}
              >
                {t("retry")}
              </Button>
            </Needs>
            <Needs scope="submit">
              <Button
                size="xs"
                variant="default"
                leftSection={<IconPencil size={14} />}
                onClick={edit.open}
              >
                {common("resubmit.title")}
              </Button>
            </Needs>
            <Needs scope="submit">
              <Button
                size="xs"
                variant="default"
                c="var(--status-bad)"
                leftSection={<IconTrash size={14} />}
                onClick={confirm.open}
              >
                {t("detail.delete")}
              </Button>
            </Needs>
          </>
        )}
      </Group>
      <Modal
        opened={error !== null}
        onClose={() => {
          cancel.reset();
          retry.reset();
          remove.reset();
        }}
        title={t("detail.refused")}
      >
        {error && <ErrorState error={error} />}
      </Modal>
      <Resubmit jobId={editing ? id : null} onClose={edit.close} onAccepted={goTo} />
      <Modal opened={deleting} onClose={confirm.close} title={t("detail.deleteTitle")}>
        <Stack>
          <Text size="sm">{t("detail.deleteHint")}</Text>
          <Group justify="flex-end" gap="xs">
            <Button size="xs" variant="default" onClick={confirm.close} data-autofocus>
              {t("detail.keep")}
            </Button>
            <Button
              size="xs"
              color="red"
              loading={remove.isPending}
              onClick={() => remove.mutate(undefined, { onSettled: confirm.close })}
            >
              {t("detail.delete")}
            </Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}
