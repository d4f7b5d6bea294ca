import { Code, Group, Tabs } from "@mantine/core";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { pageUrl } from "@/api/client";
import type { Call, Mode } from "@/api/inference";
import { useKeyHeader } from "@/api/me";
import { CopyButton } from "@/components/CopyButton";
import { Panel } from "@/components/Panel";
import { asCurl, asPython } from "./snippets";

/** Of a long one; the button copies all of it. */
const SHOWN_CHARACTERS = 4000;

/** The call that the form makes, for a shell and for Python. */
export function CallCode({ mode, call }: { mode: Mode; call: Call }) {
  const { t } = useTranslation("playground");
  const keyHeader = useKeyHeader();
  const codes = useMemo(() => {
    const base = pageUrl(".").href;
    return { curl: asCurl(base, mode, call, keyHeader), python: asPython(base, mode, call) };
  }, [mode, call, keyHeader]);
  return (
    <Panel title={t("code.title")} note={t("code.note")}>
      <Tabs defaultValue="curl" keepMounted={false}>
        <Tabs.List>
          <Tabs.Tab value="curl">curl</Tabs.Tab>
          <Tabs.Tab value="python">Python</Tabs.Tab>
        </Tabs.List>
        {(["curl", "python"] as const).map((language) => (
          <Tabs.Panel key={language} value={language} pt={6}>
            <Group gap={4} wrap="nowrap" align="flex-start">
              <Code
                block
                flex={1}
                mah={320}
                tabIndex={0}
                style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere", overflowY: "auto" }}
              >
                {shortened(codes[language])}
              </Code>
              <CopyButton value={codes[language]} label={t(`code.copy.${language}`)} />
            </Group>
          </Tabs.Panel>
        ))}
      </Tabs>
    </Panel>
  );
}

function shortened(code: string): string {
  if (code.length <= SHOWN_CHARACTERS) return code;
  return `${code.slice(0, SHOWN_CHARACTERS / 2)} … ${code.slice(-SHOWN_CHARACTERS / 2)}`;
}
