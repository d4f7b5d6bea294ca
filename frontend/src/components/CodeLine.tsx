import { Code, Group } from "@mantine/core";
import { CopyButton } from "./CopyButton";

/** A command or an id to be copied. */
export function CodeLine({ value, label }: { value: string; label?: string }) {
  return (
    <Group gap={4} wrap="nowrap" maw="100%" align="flex-start">
      <Code block style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere", textAlign: "start" }}>
        {value}
      </Code>
      <CopyButton value={value} {...(label === undefined ? {} : { label })} />
    </Group>
  );
}
