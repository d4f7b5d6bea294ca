import { Box, Skeleton, Stack, Text } from "@mantine/core";
import { useRef } from "react";
import { useTranslation } from "react-i18next";
import { type DeadLetterGroup, useDeadLetters } from "@/api/dead-letters";
import { EmptyState } from "@/components/EmptyState";
import { ErrorState } from "@/components/ErrorState";
import { PageTitle } from "@/components/PageTitle";
import { Group } from "./Group";

const keyOf = ({ model_name, error_code }: DeadLetterGroup) => `${model_name} ${error_code}`;

export function DeadLettersPage() {
  const { t } = useTranslation("deadLetters");
  const { t: common } = useTranslation();
  const { data: groups, error, refetch } = useDeadLetters();
  // A group whose last job was repeated stays until one leaves: what became of its jobs is told there.
  const seen = useRef(new Map<string, DeadLetterGroup>());
  for (const group of groups ?? []) seen.current.set(keyOf(group), group);
  const now = new Set(groups?.map(keyOf));
  const shown = [...seen.current];

  return (
    <>
      <PageTitle title={t("title")} />
      {error && !groups && <ErrorState error={error} onRetry={() => void refetch()} />}
      {!groups && !error && <Skeleton h={160} aria-label={common("loading")} />}
      {groups && (
        <Stack gap="sm">
          {shown.length > 0 && (
            <Text size="sm" c="dimmed">
              {t("hint")}
            </Text>
          )}
          {shown.map(([key, group]) => (
            <Group key={key} group={group} empty={!now.has(key)} />
          ))}
          {shown.length === 0 && (
            <Box className="panel">
              <EmptyState title={t("empty.title")} hint={t("empty.hint")} />
            </Box>
          )}
        </Stack>
      )}
    </>
  );
}
