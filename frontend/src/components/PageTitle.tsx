import { Group, Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";

interface PageTitleProps {
  title: string;
  /** Filters and buttons, to the right of it. */
  children?: ReactNode;
}

/** The heading of a route, and the browser tab's title. */
export function PageTitle({ title, children }: PageTitleProps) {
  useEffect(() => {
    document.title = `${title} · Satellite`;
  }, [title]);
  return (
    <Group justify="space-between" mb="sm" gap="sm" mih={36}>
      <Title order={1}>{title}</Title>
      {children}
    </Group>
  );
}
