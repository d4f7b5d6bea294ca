import { Box, Button, Code } from "@mantine/core";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { CopyButton } from "./CopyButton";

interface JsonViewProps {
  value: unknown;
  /** For screen readers: what it is. */
  label?: string;
  /** How many lines are shown at first. */
  lines?: number;
}

/** A JSON value, arrays of numbers on one line, long ones cut until asked for. */
export function JsonView({ value, label, lines = 40 }: JsonViewProps) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const text = useMemo(() => formatJson(value), [value]);
  const all = text.split("\n");
  const cut = all.length > lines;
  return (
    <Box pos="relative">
      <Box pos="absolute" top={4} right={4}>
        <CopyButton value={text} />
      </Box>
      <Code
        block
        aria-label={label ?? t("json.label")}
        style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}
      >
        {cut && !open ? `${all.slice(0, lines).join("\n")}\n…` : text}
      </Code>
      {cut && (
        <Button size="compact-xs" variant="subtle" onClick={() => setOpen(!open)}>
          {open ? t("json.less") : t("json.more", { count: all.length })}
        </Button>
      )}
    </Box>
  );
}

/** Indented JSON, with arrays that hold no further arrays or objects on one line. */
export function formatJson(value: unknown): string {
  return write(value, "");
}

function write(value: unknown, indent: string): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const below = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.every((item) => typeof item !== "object" || item === null)) {
      return `[${value.map((item) => write(item, "")).join(", ")}]`;
    }
    return `[\n${value.map((item) => below + write(item, below)).join(",\n")}\n${indent}]`;
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return "{}";
  const lines = entries.map(
    ([key, item]) => `${below}${JSON.stringify(key)}: ${write(item, below)}`,
  );
  return `{\n${lines.join(",\n")}\n${indent}}`;
}
