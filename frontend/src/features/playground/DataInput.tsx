import { Button, FileButton, Group, Menu, NativeSelect, Text, Textarea } from "@mantine/core";
import { IconChevronDown, IconUpload } from "@tabler/icons-react";
import { useId, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Column, parseCsv, usable } from "./csv";
import { writeNumbers } from "./numbers";
import { SAMPLES, sample } from "./samples";

const MAX_FILE_BYTES = 20_000_000;

interface DataInputProps {
  value: string;
  error: string | undefined;
  /** What there is to say of the numbers: how many. */
  note: string;
  onChange: (value: string) => void;
  onExample: () => void;
}

/** A series: typed, pasted, from a file, or a sample. */
export function SeriesInput({ value, error, note, onChange, onExample }: DataInputProps) {
  const { t } = useTranslation("playground");
  const [file, setFile] = useState<{ name: string; columns: Column[]; chosen: string } | null>(
    null,
  );
  const [fileError, setFileError] = useState<string | null>(null);

  async function read(chosen: File | null) {
    if (!chosen) return;
    setFile(null);
    setFileError(null);
    if (chosen.size > MAX_FILE_BYTES) {
      setFileError(t("data.fileTooLarge", { file: chosen.name }));
      return;
    }
    const columns = await parseCsv(await chosen.text());
    const best = usable(columns)[0];
    if (best) {
      setFile({ name: chosen.name, columns, chosen: String(columns.indexOf(best)) });
      onChange(writeNumbers(best.values));
      return;
    }
    const first = columns.find(({ bad }) => bad !== null);
    setFileError(
      first?.bad
        ? t("data.noColumn", { file: chosen.name, ...first.bad, column: first.name })
        : t("data.emptyFile", { file: chosen.name }),
    );
  }

  function choose(index: string) {
    const column = file?.columns[Number(index)];
    if (!file || !column) return;
    setFile({ ...file, chosen: index });
    onChange(writeNumbers(column.values));
  }

  function type(text: string) {
    // What is typed is no longer what the file says.
    setFile(null);
    setFileError(null);
    onChange(text);
  }

  const describedBy = useId();
  return (
    <>
      <Group gap={6} mb={6}>
        <FileButton accept=".csv,.tsv,.txt,text/csv,text/plain" onChange={(one) => void read(one)}>
          {(props) => (
            <Button
              {...props}
              variant="default"
              size="compact-sm"
              leftSection={<IconUpload size={14} aria-hidden />}
            >
              {t("data.upload")}
            </Button>
          )}
        </FileButton>
        <Menu position="bottom-start">
          <Menu.Target>
            <Button
              variant="default"
              size="compact-sm"
              rightSection={<IconChevronDown size={14} aria-hidden />}
            >
              {t("data.sample")}
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            {SAMPLES.map((name) => (
              <Menu.Item key={name} onClick={() => type(writeNumbers(sample(name)))}>
                {t(`samples.${name}`)}
              </Menu.Item>
            ))}
          </Menu.Dropdown>
        </Menu>
        <Button
          variant="default"
          size="compact-sm"
          onClick={() => {
            setFile(null);
            setFileError(null);
            onExample();
          }}
        >
          {t("data.example")}
        </Button>
      </Group>
      {fileError && (
        <Text size="sm" c="var(--status-bad)" role="alert" mb={6}>
          {fileError}
        </Text>
      )}
      {file && (
        <NativeSelect
          label={t("data.column", { file: file.name })}
          size="xs"
          mb={6}
          value={file.chosen}
          onChange={(event) => choose(event.currentTarget.value)}
          data={file.columns.map(({ name, bad }, index) => ({
            value: String(index),
            label: bad ? t("data.badColumn", { column: name, row: bad.row, text: bad.text }) : name,
            disabled: bad !== null,
          }))}
        />
      )}
      <Textarea
        aria-label={t("data.numbers")}
        aria-describedby={describedBy}
        value={value}
        onChange={(event) => type(event.currentTarget.value)}
        error={error ?? false}
        rows={5}
        spellCheck={false}
        inputMode="text"
        styles={{ input: MONOSPACE, error: { whiteSpace: "pre-line" } }}
      />
      <Text id={describedBy} size="xs" c="dimmed" mt={4}>
        {note} {t("data.hint")}
      </Text>
    </>
  );
}

/** Anything else: JSON, from the model's example. */
export function JsonData({ value, error, onChange, onExample }: Omit<DataInputProps, "note">) {
  const { t } = useTranslation("playground");
  return (
    <>
      <Textarea
        aria-label={t("data.json")}
        value={value}
        onChange={(event) => onChange(event.currentTarget.value)}
        error={error ?? false}
        autosize
        minRows={6}
        maxRows={24}
        spellCheck={false}
        styles={{ input: MONOSPACE, error: { whiteSpace: "pre-line" } }}
      />
      <Button variant="default" size="compact-sm" mt={6} onClick={onExample}>
        {t("data.example")}
      </Button>
    </>
  );
}

const MONOSPACE = {
  fontFamily: "var(--mantine-font-family-monospace)",
  fontSize: "var(--mantine-font-size-xs)",
};
