import { ActionIcon, Tooltip } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";

const SHOWN_MS = 1500;

/** Copies a text. */
export function CopyButton({ value, label }: { value: string; label?: string }) {
  const { t } = useTranslation();
  const [outcome, setOutcome] = useState<"copied" | "failed" | null>(null);

  useEffect(() => {
    if (outcome === null) return;
    const timer = setTimeout(() => setOutcome(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [outcome]);

  async function copy() {
    try {
      await copyText(value);
      setOutcome("copied");
    } catch {
      setOutcome("failed");
    }
  }

  const text = t(`copy.${outcome ?? "copy"}`);
  return (
    <Tooltip label={text}>
      <ActionIcon
        variant="subtle"
        color={outcome === "failed" ? "red" : "gray"}
        size="sm"
        aria-label={label && outcome === null ? label : text}
        onClick={copy}
      >
        {outcome === "copied" ? <IconCheck size={16} /> : <IconCopy size={16} />}
      </ActionIcon>
    </Tooltip>
  );
}

/** The clipboard API exists under HTTPS and on localhost only; the page is often read over plain HTTP. */
async function copyText(value: string): Promise<void> {
  if (window.isSecureContext) {
    await navigator.clipboard.writeText(value);
    return;
  }
  const area = document.createElement("textarea");
  area.value = value;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("the browser refused to copy");
}
