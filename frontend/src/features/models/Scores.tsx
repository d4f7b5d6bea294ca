import { NativeSelect, Stack, Table, Text } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useVersions, type Version } from "@/api/models";
import { Facts } from "@/components/Facts";
import { JsonView } from "@/components/JsonView";
import { Panel } from "@/components/Panel";
import { useFormat } from "@/i18n/format";
import { type Metrics, scoresOf } from "./metrics";
import classes from "./tables.module.css";

/** What whoever made a version measured of it. */
export function Scores({ name }: { name: string }) {
  const { t } = useTranslation("models");
  const { data } = useVersions(name);
  const [chosen, setChosen] = useState<string | null>(null);
  const measured = data?.versions.filter(({ metrics }) => Object.keys(metrics).length > 0) ?? [];
  const shown: Version | undefined =
    measured.find(({ version }) => version === chosen) ??
    measured.find((version) => version.default) ??
    measured.at(-1);
  if (!shown) return null;
  return (
    <Panel
      title={t("scores.title")}
      note={measured.length === 1 ? shown.version : undefined}
      actions={
        measured.length > 1 && (
          <NativeSelect
            aria-label={t("versions.version")}
            size="xs"
            value={shown.version}
            onChange={(event) => setChosen(event.currentTarget.value)}
            data={measured.map(({ version }) => version).toReversed()}
          />
        )
      }
    >
      <ScoresOf metrics={shown.metrics} />
    </Panel>
  );
}

function ScoresOf({ metrics }: { metrics: Metrics }) {
  const format = useFormat();
  const { t } = useTranslation("models");
  const { single, tables, rest } = scoresOf(metrics);
  return (
    <Stack gap="sm">
      {single.length > 0 && (
        <Facts inline facts={single.map(([name, value]) => [name, format.value(value)])} />
      )}
      {tables.map(({ title, columns, rows }) => (
        <Table.ScrollContainer key={title} minWidth={360} type="native">
          <Table className={`${classes.table} ${classes.scores}`}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">{title || t("scores.of")}</Table.Th>
                {columns.map((column) => (
                  <Table.Th key={column} scope="col" className={classes.number}>
                    {column}
                  </Table.Th>
                ))}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {rows.map(({ name, values }) => (
                <Table.Tr key={name}>
                  <Table.Th scope="row" fw={400}>
                    {name}
                  </Table.Th>
                  {values.map((value, index) => (
                    <Table.Td key={columns[index]} className={classes.number}>
                      {value === null ? <Text inherit>–</Text> : format.value(value)}
                    </Table.Td>
                  ))}
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      ))}
      {rest && <JsonView value={rest} lines={12} />}
    </Stack>
  );
}
