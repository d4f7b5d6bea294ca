import { SegmentedControl, SimpleGrid } from "@mantine/core";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Overview } from "@/api/overview";
import { Chart, type ChartSeries, seriesColor } from "@/components/Chart";
import { Panel } from "@/components/Panel";
import { useFormat } from "@/i18n/format";
import { type ModelLines, type Quantiles, sum, timelineOf } from "./timeline";

interface OverviewChartsProps {
  overview: Overview;
  /** All models: their order gives each its colour. */
  names: readonly string[];
  shown: readonly string[];
}

const SYNC = "overview";
/** A system that has just started does not begin with an empty hour. */
const MIN_SPAN_S = 600;

/** The last hour. */
export function OverviewCharts({ overview, names, shown }: OverviewChartsProps) {
  const { t } = useTranslation("overview");
  const format = useFormat();
  const [quantile, setQuantile] = useState<keyof Quantiles>("p95");
  const timeline = useMemo(() => timelineOf(overview), [overview]);
  const key = shown.join();

  const charts = useMemo(() => {
    const models = key.split(",").flatMap((name) => {
      const lines = timeline.models.get(name);
      return lines ? [{ name, lines, color: seriesColor(names.indexOf(name)) }] : [];
    });
    const total = (of: (lines: ModelLines) => readonly (number | null)[]) =>
      sum(models.map(({ lines }) => of(lines)));
    const perModel = (of: (lines: ModelLines) => readonly (number | null)[]): ChartSeries[] =>
      models.map(({ name, lines, color }) => ({ label: name, values: of(lines), color }));
    const [only] = models;
    /** Of one model both percentiles; of several, which one is chosen. */
    const durations = (of: (lines: ModelLines) => Quantiles): ChartSeries[] =>
      only && models.length === 1
        ? (["p50", "p95"] as const).map((each) => ({
            label: each,
            values: of(only.lines)[each],
            color: only.color,
            dashed: each === "p95",
          }))
        : perModel((lines) => of(lines)[quantile]);
    return {
      throughput: [
        {
          label: t("charts.accepted"),
          values: total(({ submittedPerS }) => submittedPerS),
          color: "var(--chart-1)",
        },
        {
          label: t("charts.succeeded"),
          values: total(({ succeededPerS }) => succeededPerS),
          color: "var(--chart-3)",
        },
        {
          label: t("charts.predicted"),
          values: total(({ predictedPerS }) => predictedPerS),
          color: "var(--chart-4)",
          dashed: true,
        },
      ],
      waiting: perModel(({ waiting }) => waiting),
      batch: perModel(({ batchSize }) => batchSize),
      failed: perModel(({ failedLastMin }) => failedLastMin),
      wait: durations(({ wait }) => wait),
      compute: durations(({ compute }) => compute),
    };
  }, [timeline, names, key, quantile, t]);

  const number = (value: number) => format.number(value, value < 1 ? 2 : value < 10 ? 1 : 0);
  const common = { x: timeline.at, sync: SYNC, range: FROM_ZERO, minSpan: MIN_SPAN_S };
  const choice = shown.length > 1 && (
    <SegmentedControl
      size="xs"
      aria-label={t("charts.quantile")}
      value={quantile}
      onChange={(value) => setQuantile(value === "p50" ? "p50" : "p95")}
      data={[
        { value: "p50", label: t("charts.p50") },
        { value: "p95", label: t("charts.p95") },
      ]}
    />
  );
  return (
    <SimpleGrid cols={{ base: 1, md: 2, xl: 3 }} spacing="sm">
      <Panel title={t("charts.throughput")}>
        <Chart
          {...common}
          title={t("charts.throughput")}
          series={charts.throughput}
          format={number}
        />
      </Panel>
      <Panel title={t("charts.waiting")}>
        <Chart {...common} title={t("charts.waiting")} series={charts.waiting} format={number} />
      </Panel>
      <Panel title={t("charts.batch")}>
        <Chart {...common} title={t("charts.batch")} series={charts.batch} format={number} />
      </Panel>
      <Panel title={t("charts.wait")} actions={choice}>
        <Chart {...common} title={t("charts.wait")} series={charts.wait} format={format.duration} />
      </Panel>
      <Panel title={t("charts.compute")} actions={choice}>
        <Chart
          {...common}
          title={t("charts.compute")}
          series={charts.compute}
          format={format.duration}
        />
      </Panel>
      <Panel title={t("charts.failed")}>
        <Chart {...common} title={t("charts.failed")} series={charts.failed} format={number} />
      </Panel>
    </SimpleGrid>
  );
}

const FROM_ZERO = [0, null] as const;
