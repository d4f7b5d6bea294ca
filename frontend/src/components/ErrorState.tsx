import { Alert, Button, Group, Text } from "@mantine/core";
import type { ErrorComponentProps } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ApiError } from "@/api/client";

interface ErrorStateProps {
  error: Error;
  /** Without it there is no button. */
  onRetry?: () => void;
  title?: string;
}

/** Why something could not be read or done, in the API's own words. */
export function ErrorState({ error, onRetry, title }: ErrorStateProps) {
  const { t } = useTranslation();
  const requestId = error instanceof ApiError ? error.problem?.request_id : undefined;
  const heading = title ?? (error instanceof ApiError ? error.problem?.title : undefined);
  return (
    <Alert color="red" variant="light" role="alert" title={heading ?? t("error.title")}>
      <Text size="sm" style={{ overflowWrap: "anywhere" }}>
        {useErrorText(error)}
      </Text>
      <Group mt={onRetry || requestId ? "xs" : 0} gap="sm">
        {onRetry && (
          <Button size="compact-sm" variant="default" onClick={onRetry}>
            {t("error.retry")}
          </Button>
        )}
        {requestId && (
          <Text size="xs" c="dimmed" ff="monospace">
            {t("error.requestId", { id: requestId })}
          </Text>
        )}
      </Group>
    </Alert>
  );
}

/** What an error says to whoever reads it. */
export function useErrorText(error: Error): string {
  const { t } = useTranslation();
  if (!(error instanceof ApiError)) return error.message;
  if (error.code === "unreachable") return t("error.unreachable");
  if (error.code === "unreadable") return t("error.unreadable", { message: error.message });
  if (error.code === "forbidden") return t("error.forbidden", { message: error.message });
  return error.message;
}

/** In place of a part of the page that threw while it was drawn. */
export function CrashState({ error, reset }: ErrorComponentProps) {
  const { t } = useTranslation();
  return (
    <ErrorState
      error={error instanceof Error ? error : new Error(String(error))}
      title={t("error.crashed")}
      onRetry={reset}
    />
  );
}
