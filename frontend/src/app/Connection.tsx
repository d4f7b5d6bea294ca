import { Alert, Box, Button, Group, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { useLiveSocket, useLiveState } from "@/api/live-hooks";
import { useNow } from "@/components/now";
import { useFormat } from "@/i18n/format";

/** A break shorter than this is nobody's business: an ingress was replaced. */
const UNNOTICED_MS = 3000;

const COLORS = {
  open: "var(--status-good)",
  connecting: "var(--status-warn)",
  waiting: "var(--status-bad)",
} as const;

/** Whether data arrives live, in the header. */
export function ConnectionState() {
  const { t } = useTranslation();
  const { status } = useLiveState();
  const state = t(`live.${status}`);
  return (
    <Group gap={6} wrap="nowrap" role="status" aria-label={t("live.label", { state })}>
      <Box w={8} h={8} bdrs="50%" bg={COLORS[status]} aria-hidden />
      <Text size="xs" c="dimmed" visibleFrom="xs" aria-hidden>
        {state}
      </Text>
    </Group>
  );
}

/** While nothing arrives live: how old what is shown is. */
export function ConnectionBanner() {
  const { lostAt } = useLiveState();
  return lostAt === null ? null : <Banner lostAt={lostAt} />;
}

function Banner({ lostAt }: { lostAt: number }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const socket = useLiveSocket();
  const format = useFormat();
  const now = useNow();
  if (now - lostAt < UNNOTICED_MS) return null;

  // Up to the break all was live, however long ago it was read.
  const shown = queries.getQueryCache().findAll({ type: "active" });
  const ages = shown.map(({ state }) => Math.max(state.dataUpdatedAt, lostAt));
  const time = format.time(Math.min(...ages, now));
  return (
    <Alert color="yellow" variant="light" role="alert" mb="sm" py={6} px="sm">
      <Group gap="sm" justify="space-between">
        <Text size="sm">{t("live.lost", { time })}</Text>
        <Button size="compact-sm" variant="default" onClick={() => socket.hurry()}>
          {t("live.retry")}
        </Button>
      </Group>
    </Alert>
  );
}
