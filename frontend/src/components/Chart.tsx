import "uplot/dist/uPlot.min.css";
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import uPlot from "uplot";
import { useFormat } from "@/i18n/format";
import classes from "./Chart.module.css";

export interface ChartSeries {
  label: string;
  /** One value for each of the chart's `x`; null: there was none. */
  values: readonly (number | null)[];
  /** A CSS variable or colour; without it the next of the theme's. */
  color?: string;
  dashed?: boolean;
  /** Fill down to the axis. */
  filled?: boolean;
  /** Points, with no line between them. */
  points?: boolean;
  /** Fill up to the series with this label. */
  bandTo?: string;
}

/** The values with none on either side: a line alone would not show them. */
const lonePoints: uPlot.Series.Points.Filter = (plot, seriesIndex) => {
  const values = plot.data[seriesIndex] ?? [];
  const found: number[] = [];
  for (let index = 0; index < values.length; index++)
    if (values[index] != null && values[index - 1] == null && values[index + 1] == null)
      found.push(index);
  return found;
};

interface ChartProps {
  title: string;
  /** Times in s since 1970 (`time`), or plain numbers, rising. */
  x: readonly number[];
  series: readonly ChartSeries[];
  /** How a value is written: on the axis, in the legend and in the table for screen readers. */
  format: (value: number) => string;
  /** Charts with the same key share their cursor. */
  sync?: string;
  /** Whether `x` are times. */
  time?: boolean;
  /** What the axis shows at least, both ends; rates begin at 0. */
  range?: readonly [number | null, number | null];
  /** How much of `x` is shown at least, up to its end. */
  minSpan?: number;
  height?: number;
}

const COLORS = 6;
const AXIS_FONT = "11px system-ui, sans-serif";
/** Places in a series are whole numbers. */
const WHOLE_STEPS = [1, 10, 100, 1000, 10_000, 100_000].flatMap((n) => [n, 2 * n, 5 * n]);

/**
 * Lines over time, or over numbers: themed, as wide as its place, with a legend that shows the value under the cursor.
 *
 * Screen readers get a table with the last, lowest and highest value of each series in its place.
 */
export function Chart(props: ChartProps) {
  const { title, x, series, format, sync, time = true, range, minSpan, height = 160 } = props;
  const { t } = useTranslation();
  const scheme = useComputedColorScheme("light");
  const { time: timeOfDay, number } = useFormat();
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const [cursor, setCursor] = useState<number | null>(null);
  const data = useMemo(
    () => [x, ...series.map(({ values }) => values)] as unknown as uPlot.AlignedData,
    [x, series],
  );
  const latest = useRef({ data, format, hidden });
  latest.current = { data, format, hidden };

  // What a plot cannot change once it is made: when it does, the plot is made anew.
  const shape = JSON.stringify([
    scheme,
    sync,
    time,
    range,
    minSpan,
    height,
    series.map((one) => ({ ...one, values: null })),
  ]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: `shape` stands for all that is read here.
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const style = getComputedStyle(element);
    const color = (name: string) =>
      name.startsWith("var(") ? style.getPropertyValue(name.slice(4, -1)).trim() : name;
    const line = color("var(--page-line)");
    const text = color("var(--mantine-color-dimmed)");
    const axis = {
      stroke: text,
      font: AXIS_FONT,
      grid: { stroke: color("var(--chart-grid)"), width: 1 },
      ticks: { stroke: line, width: 1, size: 4 },
    };
    const made = new uPlot(
      {
        width: Math.max(element.clientWidth, 50),
        height,
        padding: [8, 18, 0, 0],
        scales: {
          x: {
            time,
            range: (_plot, low, high) => {
              // With no value yet the axis ends now.
              const end = high ?? (time ? Date.now() / 1000 : 1);
              return [Math.min(low ?? end - 1, end - (minSpan ?? 0)), end];
            },
          },
          y: {
            range: (_plot, low, high) => [
              Math.min(range?.[0] ?? low ?? 0, low ?? 0),
              niceMaximum(Math.max(range?.[1] ?? high ?? 0, high ?? 0), range?.[0] ?? low ?? 0),
            ],
          },
        },
        axes: [
          {
            ...axis,
            size: 24,
            space: 70,
            values: time ? TIME_LABELS : (_plot, at) => at.map((v) => number(v)),
            ...(time ? {} : { incrs: WHOLE_STEPS }),
          },
          {
            ...axis,
            size: 58,
            space: 32,
            values: (_plot, at) => at.map((value) => latest.current.format(value)),
          },
        ],
        series: [
          {},
          ...series.map((one, index) => {
            const stroke = color(one.color ?? seriesColor(index));
            return {
              label: one.label,
              show: !latest.current.hidden.has(one.label),
              stroke,
              width: one.points ? 0 : 1.5,
              points: one.points
                ? { show: true, size: 8, fill: stroke }
                : { show: true, size: 4, width: 0, fill: stroke, filter: lonePoints },
              ...(one.dashed ? { dash: [5, 4] } : {}),
              ...(one.filled ? { fill: `${stroke}22` } : {}),
            };
          }),
        ],
        bands: series.flatMap(({ color: chosen, bandTo }, index) => {
          const other = series.findIndex(({ label }) => label === bandTo);
          if (other < 0) return [];
          const fill = `${color(chosen ?? seriesColor(index))}33`;
          return [{ series: [other + 1, index + 1] as [number, number], fill }];
        }),
        cursor: {
          y: false,
          drag: { x: false, y: false },
          points: { size: 6 },
          ...(sync === undefined ? {} : { sync: { key: sync } }),
        },
        legend: { show: false },
        hooks: { setCursor: [(current) => setCursor(current.cursor.idx ?? null)] },
      },
      latest.current.data,
      element,
    );
    plot.current = made;
    const resized = new ResizeObserver(() => {
      if (element.clientWidth > 0) made.setSize({ width: element.clientWidth, height });
    });
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => {
    plot.current?.setData(data);
  }, [data]);

  function toggle(label: string, index: number) {
    const next = new Set(hidden);
    if (!next.delete(label)) next.add(label);
    setHidden(next);
    plot.current?.setSeries(index + 1, { show: !next.has(label) });
  }

  const shownAt = cursor === null ? undefined : x[cursor];
  return (
    <figure className={classes.figure} aria-label={title}>
      <div className={classes.legend}>
        {series.map((one, index) => {
          const value = cursor === null ? lastOf(one.values) : one.values[cursor];
          return (
            <button
              key={one.label}
              type="button"
              className={classes.key}
              aria-pressed={!hidden.has(one.label)}
              onClick={() => toggle(one.label, index)}
            >
              <span
                className={classes.swatch}
                style={{
                  borderTopColor: one.color ?? seriesColor(index),
                  borderTopStyle: one.dashed ? "dotted" : "solid",
                }}
              />
              {one.label}
              <span className={classes.value}>
                {typeof value === "number" ? format(value) : "–"}
              </span>
            </button>
          );
        })}
        {time && shownAt !== undefined && (
          <span className={classes.value}>{timeOfDay(shownAt * 1000)}</span>
        )}
        {!time && shownAt !== undefined && (
          <span className={classes.value}>{t("chart.at", { place: number(shownAt) })}</span>
        )}
      </div>
      <div className={classes.chart} ref={place} aria-hidden style={{ height }}>
        {x.length === 0 && <div className={classes.empty}>{t("chart.noData")}</div>}
      </div>
      <div className="visually-hidden">
        <table>
          <caption>{t("chart.summary", { title })}</caption>
          <thead>
            <tr>
              {[t("chart.series"), t("chart.last"), t("chart.lowest"), t("chart.highest")].map(
                (head) => (
                  <th key={head} scope="col">
                    {head}
                  </th>
                ),
              )}
            </tr>
          </thead>
          <tbody>
            {series.map((one) => (
              <tr key={one.label}>
                <th scope="row">{one.label}</th>
                {summary(one.values).map((value, index) => (
                  // biome-ignore lint/suspicious/noArrayIndexKey: the columns are fixed.
                  <td key={index}>{value === null ? "–" : format(value)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </figure>
  );
}

/** The theme's colour for the series with this index. */
export function seriesColor(index: number): string {
  return `var(--chart-${(index % COLORS) + 1})`;
}

const TIME_LABELS: uPlot.Axis.Values = (_plot, at) =>
  at.map((seconds) => {
    const date = new Date(seconds * 1000);
    const two = (value: number) => String(value).padStart(2, "0");
    const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
    return date.getSeconds() === 0 ? minutes : `${minutes}:${two(date.getSeconds())}`;
  });

/** A little room above the highest value; a flat line at the bottom still gets an axis. */
function niceMaximum(high: number, low: number): number {
  return high > low ? high + (high - low) * 0.08 : low + 1;
}

function lastOf(values: readonly (number | null)[]): number | null {
  return values.findLast((value) => value !== null) ?? null;
}

/** Last, lowest, highest. */
function summary(values: readonly (number | null)[]): (number | null)[] {
  let [lowest, highest]: (number | null)[] = [null, null];
  for (const value of values) {
    if (value === null) continue;
    lowest = Math.min(lowest ?? value, value);
    highest = Math.max(highest ?? value, value);
  }
  return [lastOf(values), lowest ?? null, highest ?? null];
}
