import { Box, Button, Group as Row, Stack, Text, Title } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconChevronDown, IconChevronRight, IconRepeat } from "@tabler/icons-react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useId, useState } from "react";
import { useTranslation } from "react-i18next";
import { type DeadLetterGroup, deadLettersKey } from "@/api/dead-letters";
import { jobQuery } from "@/api/jobs";
import { JsonView } from "@/components/JsonView";
import { Needs } from "@/components/Needs";
import { JobLink } from "@/components/Outcomes";
import { Resubmit } from "@/components/Resubmit";
import { RouteLink } from "@/components/RouteLink";
import { TimeAgo } from "@/components/TimeAgo";
import { useFormat } from "@/i18n/format";
import { DeadJobs } from "./DeadJobs";
import { ReplayPanel } from "./ReplayPanel";
import { useReplay } from "./useReplay";

/** Dead jobs of one model that died of the same error. */
export function Group({ group, empty }: { group: DeadLetterGroup; empty: boolean }) {
  const { t } = useTranslation("deadLetters");
  const format = useFormat();
  const id = useId();
  const queries = useQueryClient();
  const [open, setOpen] = useState(false);
  const [editing, setEditing] = useState<string | null>(null);
  const { progress, begin, stop, close } = useReplay();
  const { model_name, error_code, count, example } = group;
  const busy = progress !== null && !progress.over;
  const gone = new Set(progress?.replayed.map(({ parent_id }) => parent_id));
  const Chevron = open ? IconChevronDown : IconChevronRight;

  return (
    <Box component="section" className="panel" p="sm" aria-labelledby={id}>
      <Row justify="space-between" gap="xs" align="flex-start">
        <Stack gap={2} miw={0}>
          <Row gap="xs" align="baseline">
            <Title order={2} size="h3" id={id}>
              <RouteLink
                to="/jobs"
                search={{ model: model_name, status: ["dead"] }}
                inherit
                c="inherit"
              >
                {model_name}
              </RouteLink>
            </Title>
            <Text size="sm" ff="monospace" c="var(--status-bad)">
              {error_code}
            </Text>
          </Row>
          <Text size="sm">{example.error?.title}</Text>
          <Text size="xs" c="dimmed" component="div">
            {t("first")} <TimeAgo at={group.oldest_at} /> · {t("last")}{" "}
            <TimeAgo at={group.newest_at} />
          </Text>
        </Stack>
        <Row gap="sm">
          <Text fw={600} className="numbers">
            {t("count", { count: empty ? 0 : count, n: format.number(empty ? 0 : count) })}
          </Text>
          <Button
            size="xs"
            variant="default"
            leftSection={<Chevron size={14} />}
            aria-expanded={open}
            onClick={() => setOpen(!open)}
          >
            {t("look")}
          </Button>
          <Needs scope="submit">
            <Button
              size="xs"
              leftSection={<IconRepeat size={14} />}
              loading={busy}
              disabled={empty}
              onClick={() => void begin({ model_name, error_code, count })}
            >
              {t("replayAll")}
            </Button>
          </Needs>
        </Row>
      </Row>

      {progress && (
        <ReplayPanel model={model_name} progress={progress} onStop={stop} onClose={close} />
      )}
      {open && (
        <Stack gap="sm" mt="sm">
          <Example group={group} onEdit={setEditing} />
          <DeadJobs
            group={group}
            gone={gone}
            onReplay={(job_ids) => void begin({ job_ids })}
            onEdit={setEditing}
          />
        </Stack>
      )}
      <Resubmit
        jobId={editing}
        onClose={() => setEditing(null)}
        onAccepted={({ job_id }) => {
          setEditing(null);
          notifications.show({
            message: (
              <>
                {t("accepted")} <JobLink id={job_id} />
              </>
            ),
          });
          void queries.invalidateQueries({ queryKey: deadLettersKey });
        }}
      />
    </Box>
  );
}

/** The newest of the group: what it died of, and what it was given. */
function Example({ group, onEdit }: { group: DeadLetterGroup; onEdit: (id: string) => void }) {
  const { t } = useTranslation("deadLetters");
  const { example } = group;
  const { data: job } = useQuery(jobQuery(example.job_id));
  return (
    <Stack gap={6}>
      <Row justify="space-between" gap="xs">
        <Row gap={6}>
          <Text size="sm" fw={600}>
            {t("example")}
          </Text>
          <JobLink id={example.job_id} />
        </Row>
        <Needs scope="submit">
          <Button
            size="compact-sm"
            fz="xs"
            variant="default"
            onClick={() => onEdit(example.job_id)}
          >
            {t("edit")}
          </Button>
        </Needs>
      </Row>
      <Text size="sm" style={{ overflowWrap: "anywhere" }}>
        {example.error?.detail}
      </Text>
      {example.attempts.map(({ attempt, code, detail }) => (
        <Text key={attempt} size="xs" c="dimmed" style={{ overflowWrap: "anywhere" }}>
          {t("attempt", { attempt, why: [code, detail].filter(Boolean).join(": ") })}
        </Text>
      ))}
      {job && (
        <JsonView value={{ data: job.data, config: job.config }} label={t("input")} lines={12} />
      )}
    </Stack>
  );
}
