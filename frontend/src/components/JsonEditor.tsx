import { Anchor, List, Text } from "@mantine/core";
import { useId, useMemo, useRef } from "react";
import { useTranslation } from "react-i18next";
import classes from "./JsonEditor.module.css";
import { lineOf, NotJson, placeOf, placesOf } from "./json-places";

interface JsonMistake {
  /** JSON pointer (RFC 6901) to what does not fit. */
  pointer: string;
  detail: string;
}

interface JsonEditorProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  /** What the API found wrong with it. */
  mistakes?: readonly JsonMistake[];
}

const NONE: readonly JsonMistake[] = [];

/** A JSON text to be changed; what is wrong with it is shown at its line. */
export function JsonEditor({ label, value, onChange, mistakes = NONE }: JsonEditorProps) {
  const { t } = useTranslation();
  const area = useRef<HTMLTextAreaElement>(null);
  const errorId = useId();
  const count = value.split("\n").length;

  const found = useMemo(() => {
    const places = readPlaces(value);
    if (places instanceof NotJson) {
      const { offset } = places;
      return [{ key: "syntax", offset, line: lineOf(value, offset), text: t("editor.syntax") }];
    }
    return mistakes.map(({ pointer, detail }) => {
      const offset = placeOf(places, pointer);
      const text = pointer === "" ? detail : `${pointer}: ${detail}`;
      return { key: text, offset, line: lineOf(value, offset), text };
    });
  }, [value, mistakes, t]);
  const wrong = new Set(found.map(({ line }) => line));

  function goTo(offset: number) {
    area.current?.focus();
    area.current?.setSelectionRange(offset, offset);
  }

  return (
    <div>
      <div className={classes.editor}>
        <div className={classes.lines} aria-hidden>
          {Array.from({ length: count }, (_, index) => index + 1).map((line) => (
            <div key={line} className={wrong.has(line) ? classes.wrong : undefined}>
              {line}
            </div>
          ))}
        </div>
        <textarea
          ref={area}
          className={classes.text}
          aria-label={label}
          aria-invalid={found.length > 0}
          aria-describedby={found.length > 0 ? errorId : undefined}
          rows={count}
          value={value}
          spellCheck={false}
          autoCapitalize="off"
          onChange={({ currentTarget }) => onChange(currentTarget.value)}
        />
      </div>
      {found.length > 0 && (
        <List id={errorId} size="xs" mt={6} listStyleType="none" role="alert">
          {found.map(({ key, offset, line, text }) => (
            <List.Item key={key}>
              <Text size="xs" c="var(--status-bad)" style={{ overflowWrap: "anywhere" }}>
                <Anchor
                  component="button"
                  type="button"
                  size="xs"
                  c="inherit"
                  underline="always"
                  onClick={() => goTo(offset)}
                >
                  {t("editor.line", { line })}
                </Anchor>{" "}
                {text}
              </Text>
            </List.Item>
          ))}
        </List>
      )}
    </div>
  );
}

function readPlaces(text: string): Map<string, number> | NotJson {
  try {
    return placesOf(text);
  } catch (error) {
    if (error instanceof NotJson) return error;
    throw error;
  }
}

/** Whether it can be sent at all. */
export function isJson(text: string): boolean {
  return !(readPlaces(text) instanceof NotJson);
}
