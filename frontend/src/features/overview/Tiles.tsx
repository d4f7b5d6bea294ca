import { Box, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { ClusterInfo } from "@/api/overview";
import { useFormat } from "@/i18n/format";
import type { Summary } from "./summary";
import classes from "./Tiles.module.css";

interface TilesProps {
  summaries: readonly Summary[];
  cluster: ClusterInfo;
}

/** The totals of the models that are shown. */
export function Tiles({ summaries, cluster }: TilesProps) {
  const { t } = useTranslation("overview");
  const format = useFormat();
  const total = (of: (model: Summary) => number) =>
    summaries.reduce((sum, model) => sum + of(model), 0);
  const perSecond = (value: number) =>
    t("tiles.perSecond", { value: format.number(value, value < 10 ? 1 : 0) });
  const oldest = summaries.reduce<number | null>(
    (most, { oldestS }) => (oldestS === null ? most : Math.max(most ?? 0, oldestS)),
    null,
  );
  const names = new Set(summaries.map(({ name }) => name));
  const notRunning = cluster.replicas.filter(
    ({ model_name, state }) => names.has(model_name) && state !== "RUNNING",
  ).length;
  const failed = total(({ failed }) => failed);

  const tiles = [
    {
      label: t("tiles.accepted"),
      value: perSecond(total((model) => model.submittedPerS)),
      note: t("tiles.last30s"),
    },
    {
      label: t("tiles.done"),
      value: perSecond(total((model) => model.succeededPerS)),
      note: t("tiles.last30s"),
    },
    {
      label: t("tiles.predicted"),
      value: perSecond(total((model) => model.predictedPerS)),
      note: t("tiles.last30s"),
    },
    { label: t("tiles.waiting"), value: format.number(total(({ waiting }) => waiting)) },
    { label: t("tiles.oldest"), value: oldest === null ? "–" : format.duration(oldest) },
    {
      label: t("tiles.failed"),
      value: format.number(failed),
      note: t("tiles.lastHour"),
      color: failed > 0 ? "var(--status-bad)" : undefined,
    },
    {
      label: t("tiles.replicas"),
      value: format.number(total(({ replicas }) => replicas)),
      note: notRunning > 0 ? t("tiles.starting", { count: notRunning }) : undefined,
      color: notRunning > 0 ? "var(--status-warn)" : undefined,
    },
  ];
  return (
    <Box component="dl" className={`panel ${classes.tiles}`} aria-label={t("tiles.label")}>
      {tiles.map(({ label, value, note, color }) => (
        <div key={label} className={classes.tile}>
          <Text component="dt" size="xs" c="dimmed">
            {label}
          </Text>
          <dd className={classes.value} style={{ color }}>
            {value}
            {note && (
              <Text component="span" size="xs" c="dimmed" ml={6}>
                {note}
              </Text>
            )}
          </dd>
        </div>
      ))}
    </Box>
  );
}
