import { Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

interface EmptyStateProps {
  title: string;
  /** What to do about it. */
  hint?: ReactNode;
  /** Commands and buttons. */
  children?: ReactNode;
}

/** Nothing to show, and what to do so that there is. */
export function EmptyState({ title, hint, children }: EmptyStateProps) {
  return (
    <Stack align="center" gap="xs" py="xl" px="md" ta="center">
      <Title order={2} size="h3">
        {title}
      </Title>
      {hint !== undefined && (
        <Text size="sm" c="dimmed" maw={560}>
          {hint}
        </Text>
      )}
      {children}
    </Stack>
  );
}
