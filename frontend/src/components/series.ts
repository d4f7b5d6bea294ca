import type { ChartSeries } from "./Chart";

/** What a reader is told a line is. */
export interface SeriesLabels {
  history: string;
  forecast: string;
  anomalies: string;
  scores: string;
  threshold: string;
  quantile: (quantile: string) => string;
}

export interface Drawing {
  x: number[];
  series: ChartSeries[];
}

/** What can be drawn of a series and a model's answer to it. */
export interface Drawings {
  /** The series with its forecast and anomalies. */
  main: Drawing;
  /** A value for each point, in another unit: below it. */
  scores: Drawing | null;
  /** What of the answer is not drawn; null: nothing is left. */
  rest: Record<string, unknown> | null;
}

type Output = Readonly<Record<string, unknown>>;

/** Numbers, one after the other; null: it is something else. */
export function asSeries(value: unknown): number[] | null {
  const numbers = Array.isArray(value) && value.length > 0 && value.every(Number.isFinite);
  return numbers ? (value as number[]) : null;
}

/** Whether a chart says more of an answer than its JSON. */
export function isDrawable(output: Output | null | undefined): boolean {
  return asSeries(output?.forecast) !== null || asSeries(output?.scores) !== null;
}

/** Lines for a series and what a model answered. Places count from 0, as in the API. */
export function draw(
  data: readonly number[],
  output: Output | null | undefined,
  labels: SeriesLabels,
): Drawings {
  const forecast = asSeries(output?.forecast) ?? [];
  const length = data.length + forecast.length;
  const x = Array.from({ length }, (_, place) => place);
  const rest: Record<string, unknown> = { ...output };
  const series: ChartSeries[] = [
    { label: labels.history, values: padded(data, 0, length), color: HISTORY },
  ];

  // The forecast begins where the history ends, so that the line does not break.
  const after = (values: readonly number[]) =>
    padded([...data.slice(-1), ...values], Math.max(data.length - 1, 0), length);
  if (forecast.length > 0) {
    series.push({ label: labels.forecast, values: after(forecast), color: FORECAST });
    delete rest.forecast;
    const band = outerQuantiles(output?.quantiles, forecast.length);
    if (band) {
      const [low, high] = band;
      const look = { color: FORECAST, dashed: true };
      const top = labels.quantile(high.quantile);
      series.push(
        { ...look, label: top, values: after(high.values) },
        { ...look, label: labels.quantile(low.quantile), values: after(low.values), bandTo: top },
      );
      delete rest.quantiles;
    }
  }

  const anomalies = placesIn(output?.anomalies, data.length);
  if (anomalies) {
    const found = new Set(anomalies);
    const values = x.map((place) => (found.has(place) ? (data[place] ?? null) : null));
    series.push({ label: labels.anomalies, values, color: "var(--status-bad)", points: true });
    delete rest.anomalies;
  }

  let scores: Drawing | null = null;
  const scored = asSeries(output?.scores);
  if (scored?.length === data.length) {
    scores = { x, series: [{ label: labels.scores, values: padded(scored, 0, length) }] };
    delete rest.scores;
    if (typeof output?.threshold === "number") {
      const values = Array<number>(length).fill(output.threshold);
      scores.series.push({ label: labels.threshold, values, color: HISTORY, dashed: true });
      delete rest.threshold;
    }
  }
  return {
    main: { x, series },
    scores,
    rest: Object.keys(rest).length > 0 ? rest : null,
  };
}

/** The part of a drawing from a place on. */
export function from(drawing: Drawing, place: number): Drawing {
  return {
    x: drawing.x.slice(place),
    series: drawing.series.map((one) => ({ ...one, values: one.values.slice(place) })),
  };
}

const HISTORY = "var(--chart-6)";
const FORECAST = "var(--chart-1)";

function padded(values: readonly number[], start: number, length: number): (number | null)[] {
  const all = Array<number | null>(length).fill(null);
  for (const [index, value] of values.entries()) all[start + index] = value;
  return all;
}

/** The lowest and the highest quantile of `{"0.1": [...], "0.5": [...], "0.9": [...]}`. */
function outerQuantiles(found: unknown, steps: number) {
  if (typeof found !== "object" || found === null) return null;
  const all = Object.entries(found)
    .map(([quantile, values]) => ({ quantile, values: asSeries(values) ?? [] }))
    .filter(({ quantile, values }) => Number(quantile) > 0 && values.length === steps)
    .sort((a, b) => Number(a.quantile) - Number(b.quantile));
  const [low, high] = [all.at(0), all.at(-1)];
  return low && high && low !== high ? ([low, high] as const) : null;
}

function placesIn(found: unknown, length: number): number[] | null {
  const places = Array.isArray(found) ? found : null;
  const fits = places?.every((each) => Number.isInteger(each) && each >= 0 && each < length);
  return fits ? places : null;
}
