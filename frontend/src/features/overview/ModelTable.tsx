import { Button, Table, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { useModels } from "@/api/models";
import { seriesColor } from "@/components/Chart";
import { EmptyState } from "@/components/EmptyState";
import { Panel } from "@/components/Panel";
import { useFormat } from "@/i18n/format";
import { RayLink } from "./RayLink";
import { rayDeployment } from "./ray";
import type { Summary } from "./summary";
import classes from "./tables.module.css";

interface ModelTableProps {
  summaries: readonly Summary[];
  /** The one that is shown alone. */
  model: string | undefined;
  onModel: (name: string | null) => void;
  dashboard: string | null;
}

/** How each model does. A click on its name shows it alone, another one all again. */
export function ModelTable({ summaries, model, onModel, dashboard }: ModelTableProps) {
  const { t } = useTranslation("overview");
  const format = useFormat();
  const { data: models } = useModels();
  const perS = (value: number) => (value === 0 ? "0" : format.number(value, value < 100 ? 1 : 0));
  const maximum = (name: string) => {
    const found = models?.find((each) => each.name === name)?.batching.max_batch_size;
    return typeof found === "number" ? ` / ${found}` : "";
  };
  const heads = [
    "in",
    "out",
    "predict",
    "waiting",
    "oldest",
    "batch",
    "wait",
    "compute",
    "failed",
    "replicas",
  ] as const;

  return (
    <Panel title={t("models.title")} note={t("models.note")}>
      {summaries.length === 0 ? (
        <EmptyState title={t("models.none")} />
      ) : (
        <Table.ScrollContainer minWidth={860} type="native">
          <Table className={classes.table} highlightOnHover>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">{t("models.model")}</Table.Th>
                {heads.map((head) => (
                  <Table.Th key={head} scope="col" className={classes.number}>
                    {t(`models.${head}`)}
                  </Table.Th>
                ))}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {summaries.map((each, index) => (
                <Table.Tr
                  key={each.name}
                  className={
                    model !== undefined && model !== each.name ? (classes.faded ?? "") : ""
                  }
                >
                  <Table.Th scope="row" fw={500}>
                    <Button
                      variant="transparent"
                      size="compact-sm"
                      px={0}
                      c="inherit"
                      fw={500}
                      title={t("models.show", { model: each.name })}
                      aria-pressed={model === each.name}
                      onClick={() => onModel(model === each.name ? null : each.name)}
                      leftSection={
                        <span
                          className={classes.swatch}
                          style={{ background: seriesColor(index) }}
                        />
                      }
                    >
                      {each.name}
                    </Button>
                  </Table.Th>
                  <Table.Td className={classes.number}>{perS(each.submittedPerS)}/s</Table.Td>
                  <Table.Td className={classes.number}>{perS(each.succeededPerS)}/s</Table.Td>
                  <Table.Td className={classes.number}>{perS(each.predictedPerS)}/s</Table.Td>
                  <Table.Td className={classes.number}>{format.number(each.waiting)}</Table.Td>
                  <Table.Td className={classes.number}>
                    {each.oldestS === null ? "–" : format.duration(each.oldestS)}
                  </Table.Td>
                  <Table.Td className={classes.number}>
                    {each.batchSize === null ? (
                      "–"
                    ) : (
                      <>
                        {format.number(each.batchSize)}
                        <Text span inherit c="dimmed">
                          {maximum(each.name)}
                        </Text>
                      </>
                    )}
                  </Table.Td>
                  <Table.Td className={classes.number}>{pair(each.wait)}</Table.Td>
                  <Table.Td className={classes.number}>{pair(each.compute)}</Table.Td>
                  <Table.Td
                    className={classes.number}
                    c={each.failed > 0 ? "var(--status-bad)" : ""}
                  >
                    {format.number(each.failed)}
                  </Table.Td>
                  <Table.Td className={classes.number}>
                    <RayLink
                      href={dashboard && rayDeployment(dashboard, each.name)}
                      what={each.name}
                    >
                      {format.number(each.replicas)}
                    </RayLink>
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </Panel>
  );

  function pair([p50, p95]: [number | null, number | null]): string {
    if (p50 === null && p95 === null) return "–";
    return [p50, p95].map((value) => (value === null ? "–" : format.duration(value))).join(" / ");
  }
}
