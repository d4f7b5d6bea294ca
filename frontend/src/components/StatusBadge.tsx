import { Group, Text } from "@mantine/core";
import {
  IconBan,
  IconCircleCheck,
  IconCircleX,
  IconClock,
  IconClockX,
  IconLoader,
  IconSkull,
} from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import type { Schemas } from "@/api/client";

export type JobStatus = Schemas["JobSummary"]["status"];

// A shape for each, not only a colour: one in twelve men tells red from green with difficulty.
const LOOKS = {
  queued: { icon: IconClock, color: "var(--status-idle)" },
  running: { icon: IconLoader, color: "var(--status-busy)" },
  succeeded: { icon: IconCircleCheck, color: "var(--status-good)" },
  failed: { icon: IconCircleX, color: "var(--status-bad)" },
  cancelled: { icon: IconBan, color: "var(--status-idle)" },
  expired: { icon: IconClockX, color: "var(--status-warn)" },
  dead: { icon: IconSkull, color: "var(--status-bad)" },
} as const satisfies Record<JobStatus, unknown>;

/** A job's status, as icon and word. */
export function StatusBadge({ status }: { status: JobStatus }) {
  const { t } = useTranslation();
  const { icon: Icon, color } = LOOKS[status];
  return (
    <Group component="span" gap={4} wrap="nowrap" display="inline-flex" c={color}>
      <Icon size={16} stroke={1.8} aria-hidden />
      <Text component="span" inherit fw={500}>
        {t(`status.${status}`)}
      </Text>
    </Group>
  );
}
