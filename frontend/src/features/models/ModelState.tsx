import { Group, Text } from "@mantine/core";
import {
  IconAlertTriangle,
  IconCircleCheck,
  IconHelpCircle,
  IconLoader,
} from "@tabler/icons-react";
import { useTranslation } from "react-i18next";

const GOOD = { icon: IconCircleCheck, color: "var(--status-good)" };
const BUSY = { icon: IconLoader, color: "var(--status-busy)" };
const BAD = { icon: IconAlertTriangle, color: "var(--status-bad)" };
const UNKNOWN = { icon: IconHelpCircle, color: "var(--status-idle)" };

/** The states of Ray Serve's deployments. */
const LOOKS = {
  HEALTHY: GOOD,
  UPDATING: BUSY,
  UPSCALING: BUSY,
  DOWNSCALING: BUSY,
  UNHEALTHY: BAD,
  DEPLOY_FAILED: BAD,
  UNKNOWN,
} as const;

/** A deployment's state, as icon and word. */
export function ModelState({ state }: { state: string }) {
  const { t } = useTranslation("models");
  const known = state in LOOKS ? (state as keyof typeof LOOKS) : null;
  const { icon: Icon, color } = known ? LOOKS[known] : UNKNOWN;
  return (
    <Group component="span" gap={4} wrap="nowrap" display="inline-flex" c={color} fz="sm">
      <Icon size={16} stroke={1.8} aria-hidden />
      <Text component="span" inherit fw={500}>
        {known ? t(`states.${known}`) : state}
      </Text>
    </Group>
  );
}
