import { Group, Stack, Text } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { RouteLink } from "./RouteLink";

export interface OutcomeLine {
  /** Of the job that something was done to. */
  id: string;
  /** What became of it. */
  text: ReactNode;
  bad: boolean;
}

const SHOWN = 200;

/** What became of each of many jobs. */
export function Outcomes({ lines }: { lines: readonly OutcomeLine[] }) {
  const { t } = useTranslation();
  return (
    <Stack gap={2} mah={260} style={{ overflowY: "auto" }} component="ul" m={0} p={0}>
      {lines.slice(0, SHOWN).map(({ id, text, bad }) => {
        const Icon = bad ? IconAlertTriangle : IconCircleCheck;
        return (
          <Group key={id} component="li" gap={6} wrap="nowrap" align="flex-start" fz="xs">
            <Icon
              size={15}
              aria-hidden
              style={{ flex: "none" }}
              color={bad ? "var(--status-bad)" : "var(--status-good)"}
            />
            <JobLink id={id} />
            <Text component="span" fz="inherit" style={{ overflowWrap: "anywhere" }}>
              {text}
            </Text>
          </Group>
        );
      })}
      {lines.length > SHOWN && (
        <Text fz="xs" c="dimmed">
          {t("outcome.further", { count: lines.length - SHOWN })}
        </Text>
      )}
    </Stack>
  );
}

/** A job, by the end of its id: its beginning is the time. */
export function JobLink({ id, full = false }: { id: string; full?: boolean }) {
  return (
    <RouteLink to="/jobs/$jobId" params={{ jobId: id }} ff="monospace" fz="xs" title={id}>
      {full ? id : `…${id.slice(-8)}`}
    </RouteLink>
  );
}
