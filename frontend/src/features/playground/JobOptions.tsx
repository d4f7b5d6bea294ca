import { NativeSelect, SimpleGrid, TagsInput, TextInput } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Form } from "./form";

interface JobOptionsProps {
  form: Form;
  errorOf: (pointer: string) => string | undefined;
  onChange: (change: Partial<Form>) => void;
}

const PRIORITIES = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map(String);
const USUAL_PRIORITY = "4";

/** What may be asked of a job beside its input. */
export function JobOptions({ form, errorOf, onChange }: JobOptionsProps) {
  const { t } = useTranslation("playground");
  return (
    <details>
      <summary>{t("job.advanced")}</summary>
      <SimpleGrid cols={2} spacing="sm" verticalSpacing="sm" mt={6}>
        <NativeSelect
          label={t("job.priority")}
          description={t("job.priorityHint")}
          value={form.priority}
          error={errorOf("/priority") ?? false}
          onChange={(event) => onChange({ priority: event.currentTarget.value })}
          data={[
            { value: "", label: t("config.default", { value: USUAL_PRIORITY }) },
            ...PRIORITIES,
          ]}
        />
        <TextInput
          label={t("job.deadline")}
          description={t("job.deadlineHint")}
          inputMode="decimal"
          value={form.deadline}
          error={errorOf("/deadline_s") ?? false}
          onChange={(event) => onChange({ deadline: event.currentTarget.value })}
        />
      </SimpleGrid>
      <TagsInput
        mt="sm"
        label={t("job.labels")}
        description={t("job.labelsHint")}
        value={[...form.labels]}
        error={errorOf("/labels") ?? false}
        onChange={(labels) => onChange({ labels })}
        acceptValueOnBlur
      />
    </details>
  );
}
