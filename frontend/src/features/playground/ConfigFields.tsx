import { NativeSelect, SimpleGrid, Text, Textarea, TextInput } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { type Field, optionText } from "./fields";

interface ConfigFieldsProps {
  fields: readonly Field[];
  values: Readonly<Record<string, string>>;
  /** What is wrong with a setting, by its name. */
  errorOf: (name: string) => string | undefined;
  onChange: (name: string, value: string) => void;
}

/** A model's settings; what is left empty is the model's default. */
export function ConfigFields({ fields, values, errorOf, onChange }: ConfigFieldsProps) {
  const { t } = useTranslation("playground");
  if (fields.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        {t("config.none")}
      </Text>
    );
  }
  return (
    <SimpleGrid cols={{ base: 1, xs: 2, md: 1 }} spacing="sm" verticalSpacing="sm">
      {fields.map((field) => (
        <ConfigField
          key={field.name}
          field={field}
          value={values[field.name] ?? ""}
          error={errorOf(field.name)}
          onChange={(value) => onChange(field.name, value)}
        />
      ))}
    </SimpleGrid>
  );
}

interface ConfigFieldProps {
  field: Field;
  value: string;
  error: string | undefined;
  onChange: (value: string) => void;
}

function ConfigField({ field, value, error, onChange }: ConfigFieldProps) {
  const { t } = useTranslation("playground");
  const byDefault = field.fallback === null ? null : plain(field.fallback);
  const common = {
    label: field.name,
    description: [field.description, field.bounds && `(${field.bounds})`].filter(Boolean).join(" "),
    error: error ?? false,
    required: field.required,
    value,
    size: "sm",
    onChange: (event: { currentTarget: { value: string } }) => onChange(event.currentTarget.value),
  } as const;
  const placeholder = byDefault ?? t("config.leftOut");
  switch (field.kind) {
    case "boolean":
    case "choice": {
      const options = field.kind === "choice" ? field.options.map(optionText) : ["true", "false"];
      const unset =
        byDefault === null ? t("config.leftOut") : t("config.default", { value: byDefault });
      return <NativeSelect {...common} data={[{ value: "", label: unset }, ...options]} />;
    }
    case "json":
      return (
        <Textarea
          {...common}
          placeholder={placeholder}
          autosize
          minRows={2}
          maxRows={10}
          styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }}
        />
      );
    case "integer":
    case "number":
      return (
        <TextInput
          {...common}
          placeholder={placeholder}
          inputMode={field.kind === "integer" ? "numeric" : "decimal"}
        />
      );
    case "numbers":
    case "text":
      return <TextInput {...common} placeholder={placeholder} />;
  }
}

function plain(json: string): string {
  const value: unknown = JSON.parse(json);
  return typeof value === "string" ? value : json;
}
