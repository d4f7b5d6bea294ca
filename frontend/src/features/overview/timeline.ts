import type { ModelHistory, Overview } from "@/api/overview";

type Values = readonly (number | null)[];

/** The history as charts want it. */
export interface Timeline {
  /** The end of each step, in s since 1970. Where nothing was counted for a while there is one more, without values. */
  at: readonly number[];
  models: ReadonlyMap<string, ModelLines>;
}

export interface ModelLines {
  submittedPerS: Values;
  succeededPerS: Values;
  predictedPerS: Values;
  /** In the minute up to then. */
  failedLastMin: Values;
  waiting: Values;
  batchSize: Values;
  wait: Quantiles;
  compute: Quantiles;
}

export interface Quantiles {
  p50: Values;
  p95: Values;
}

/** A pause between steps longer than so many of them is a gap in the lines. */
const GAP_STEPS = 2.5;

export function timelineOf({ history, spans_s, step_s }: Overview): Timeline {
  const starts = history.at.map((at) => Date.parse(at) / 1000);
  /** For each point of the charts the step it shows; null: a gap. */
  const steps: (number | null)[] = [];
  const at: number[] = [];
  starts.forEach((start, step) => {
    const before = starts[step - 1];
    if (before !== undefined && start - before > GAP_STEPS * step_s) {
      steps.push(null);
      at.push(before + 2 * step_s);
    }
    steps.push(step);
    // Steps follow each other without overlap, so their ends rise, too.
    at.push(start + Math.min(spans_s[step] ?? step_s, step_s));
  });

  const column = (values: Values) =>
    steps.map((step) => (step === null ? null : (values[step] ?? null)));
  const rate = (counts: readonly number[]) =>
    steps.map((step) => (step === null ? null : (counts[step] ?? 0) / (spans_s[step] || step_s)));
  /** What was counted in the minute up to the end of a step. */
  const total = (counts: readonly number[], step: number) => {
    let sum = 0;
    for (let each = step; each >= 0 && (starts[step] ?? 0) - (starts[each] ?? 0) < 60; each--) {
      sum += counts[each] ?? 0;
    }
    return sum;
  };
  const lines = (model: ModelHistory): ModelLines => ({
    submittedPerS: rate(model.submitted),
    succeededPerS: rate(model.succeeded),
    predictedPerS: rate(model.predicted),
    failedLastMin: column(model.failed.map((_, step) => total(model.failed, step))),
    waiting: column(model.waiting),
    batchSize: column(model.batch_size),
    wait: { p50: column(model.wait_p50_s), p95: column(model.wait_p95_s) },
    compute: { p50: column(model.compute_p50_s), p95: column(model.compute_p95_s) },
  });
  return {
    at,
    models: new Map(Object.entries(history.models).map(([name, model]) => [name, lines(model)])),
  };
}

/** Lines added up, point by point; a gap in all is a gap. */
export function sum(lines: readonly Values[]): Values {
  const longest = lines.reduce((length, line) => Math.max(length, line.length), 0);
  return Array.from({ length: longest }, (_, index) => {
    const values = lines.map((line) => line[index]).filter((value) => typeof value === "number");
    return values.length === 0 ? null : values.reduce((total, value) => total + value, 0);
  });
}
