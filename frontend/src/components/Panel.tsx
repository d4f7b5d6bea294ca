import { Box, Group, Text, Title } from "@mantine/core";
import { type ReactNode, useId } from "react";
import classes from "./Panel.module.css";

interface PanelProps {
  title: string;
  /** What there is to know about the title, small, behind it. */
  note?: ReactNode;
  /** To the right of the title. */
  actions?: ReactNode;
  children: ReactNode;
}

/** A framed part of a page with a heading. */
export function Panel({ title, note, actions, children }: PanelProps) {
  const id = useId();
  return (
    <Box component="section" className={`panel ${classes.panel}`} aria-labelledby={id} p="sm">
      <Group justify="space-between" gap="xs" mb={6} wrap="nowrap">
        <Group gap="xs" align="baseline">
          <Title order={2} size="h3" id={id}>
            {title}
          </Title>
          {note !== undefined && (
            <Text size="xs" c="dimmed" className="numbers">
              {note}
            </Text>
          )}
        </Group>
        {actions}
      </Group>
      {children}
    </Box>
  );
}
