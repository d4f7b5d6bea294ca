import {
  Box,
  Button,
  Group,
  MultiSelect,
  Popover,
  Select,
  Stack,
  TagsInput,
  TextInput,
} from "@mantine/core";
import { IconCalendar, IconFilterOff, IconSearch } from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { type JobStatus, STATUSES } from "@/api/jobs";
import { useModels } from "@/api/models";
import { useFormat } from "@/i18n/format";
import { fromLocal, isFiltered, isJobId, isLabel, type JobsSearch, toLocal } from "./search";

interface FiltersProps {
  search: JobsSearch;
  onSearch: (search: JobsSearch) => void;
}

/** What of the jobs is shown. */
export function Filters({ search, onSearch }: FiltersProps) {
  const { t } = useTranslation("jobs");
  const { t: common } = useTranslation();
  const { data: models } = useModels();
  const names = new Set([
    ...(models?.map(({ name }) => name) ?? []),
    ...(search.model === undefined ? [] : [search.model]),
  ]);

  const change = <K extends keyof JobsSearch>(name: K, value: JobsSearch[K] | undefined) => {
    const { [name]: _, ...rest } = search;
    onSearch(value === undefined ? rest : { ...rest, [name]: value });
  };

  return (
    <Group gap="xs" align="flex-start">
      <LookUp />
      <Select
        aria-label={t("filter.model")}
        placeholder={t("filter.anyModel")}
        data={[...names].sort()}
        value={search.model ?? null}
        onChange={(model) => change("model", model ?? undefined)}
        clearable
        searchable
        size="xs"
        w={{ base: "calc(50% - 5px)", xs: 170 }}
      />
      <MultiSelect
        aria-label={t("filter.status")}
        placeholder={search.status ? "" : t("filter.anyStatus")}
        data={STATUSES.map((value) => ({ value, label: common(`status.${value}`) }))}
        value={search.status ?? []}
        onChange={(values) =>
          change("status", values.length > 0 ? (values as JobStatus[]) : undefined)
        }
        clearable
        size="xs"
        w={{ base: "calc(50% - 5px)", xs: 220 }}
      />
      <TagsInput
        aria-label={t("filter.label")}
        placeholder={search.label ? "" : t("filter.labelHint")}
        value={search.label ?? []}
        onChange={(labels) => {
          const good = labels.filter(isLabel);
          change("label", good.length > 0 ? good : undefined);
        }}
        acceptValueOnBlur={false}
        styles={{ inputField: { minWidth: 40 } }}
        clearable
        size="xs"
        w={{ base: "calc(50% - 5px)", xs: 190 }}
      />
      <Created search={search} onSearch={onSearch} />
      {isFiltered(search) && (
        <Button
          size="xs"
          variant="subtle"
          leftSection={<IconFilterOff size={14} />}
          onClick={() => onSearch({})}
        >
          {t("filter.clear")}
        </Button>
      )}
    </Group>
  );
}

/** An id that is pasted leads to its job. */
function LookUp() {
  const { t } = useTranslation("jobs");
  const navigate = useNavigate();
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState(false);

  function go(event: FormEvent) {
    event.preventDefault();
    const id = text.trim().toLowerCase();
    if (isJobId(id)) void navigate({ to: "/jobs/$jobId", params: { jobId: id } });
    else setWrong(id !== "");
  }

  return (
    <Box component="form" onSubmit={go} w={{ base: "calc(50% - 5px)", xs: 180 }}>
      <TextInput
        aria-label={t("filter.id")}
        placeholder={t("filter.id")}
        leftSection={<IconSearch size={14} aria-hidden />}
        value={text}
        onChange={({ currentTarget }) => {
          setText(currentTarget.value);
          setWrong(false);
        }}
        error={wrong && t("filter.notAnId")}
        size="xs"
        data-search
      />
    </Box>
  );
}

function Created({ search, onSearch }: FiltersProps) {
  const { t } = useTranslation("jobs");
  const format = useFormat();
  const { after, before, ...rest } = search;
  const change = (after: string | undefined, before: string | undefined) =>
    onSearch({ ...rest, ...(after ? { after } : {}), ...(before ? { before } : {}) });
  const text = [
    after && t("filter.since", { time: format.time(after) }),
    before && t("filter.until", { time: format.time(before) }),
  ].filter(Boolean);

  return (
    <Popover position="bottom-end" trapFocus withinPortal>
      <Popover.Target>
        <Button
          size="xs"
          variant={text.length > 0 ? "light" : "default"}
          leftSection={<IconCalendar size={14} />}
        >
          {text.length > 0 ? text.join(" – ") : t("filter.created")}
        </Button>
      </Popover.Target>
      <Popover.Dropdown>
        <Stack gap="xs">
          <TextInput
            type="datetime-local"
            label={t("filter.after")}
            value={toLocal(after)}
            onChange={({ currentTarget }) => change(fromLocal(currentTarget.value), before)}
            size="xs"
          />
          <TextInput
            type="datetime-local"
            label={t("filter.before")}
            value={toLocal(before)}
            onChange={({ currentTarget }) => change(after, fromLocal(currentTarget.value))}
            size="xs"
          />
          <Group gap={4}>
            {([1, 24, 168] as const).map((hours) => (
              <Button
                key={hours}
                size="compact-xs"
                variant="default"
                onClick={() =>
                  change(new Date(Date.now() - hours * 3_600_000).toISOString(), undefined)
                }
              >
                {t(`filter.last${hours}h`)}
              </Button>
            ))}
          </Group>
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}
