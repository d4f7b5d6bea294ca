import { Code, Text } from "@mantine/core";
import { Fragment } from "react";

/** A model's description: paragraphs, with `code` in backticks. */
export function Prose({ text, first = false }: { text: string; first?: boolean }) {
  const all = paragraphs(text);
  return (first ? all.slice(0, 1) : all).map((paragraph) => (
    <Text key={paragraph} size="sm" maw={900} mb={first ? 0 : 4}>
      {paragraph.split("`").map((part, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the parts stand where they stand.
        <Fragment key={index}>{index % 2 === 1 ? <Code>{part}</Code> : part}</Fragment>
      ))}
    </Text>
  ));
}

/** The paragraphs of a description: its lines are broken for an editor. */
export function paragraphs(text: string): string[] {
  return text
    .split(/\n\s*\n/)
    .map((part) => part.replace(/\s*\n\s*/g, " ").trim())
    .filter((part) => part !== "");
}
