import type { Overview } from "@/api/overview";

/** A model as one line of the table says it. */
export interface Summary {
  name: string;
  submittedPerS: number;
  succeededPerS: number;
  predictedPerS: number;
  /** In the hour. */
  failed: number;
  waiting: number;
  oldestS: number | null;
  /** Requests in a batch, on average; null: there was none lately. */
  batchSize: number | null;
  wait: [p50: number | null, p95: number | null];
  compute: [p50: number | null, p95: number | null];
  replicas: number;
}

/** Rates are of so many steps, the last one as far as it has come: those of 2 s would flicker. */
const RECENT_STEPS = 3;

export function summaryOf(overview: Overview, name: string): Summary {
  const { history, spans_s, step_s, now } = overview;
  const model = history.models[name];
  const sample = now.models[name];
  // Steps that are long past are not recent, however few there are.
  const since = Date.parse(now.at) - RECENT_STEPS * step_s * 1000;
  const recent = history.at.flatMap((at, step) =>
    Date.parse(at) + step_s * 1000 > since ? [step] : [],
  );
  const spanS = recent.reduce((total, step) => total + (spans_s[step] ?? step_s), 0);
  const total = (counts: readonly number[] | undefined) =>
    recent.reduce((sum, step) => sum + (counts?.[step] ?? 0), 0);
  const perS = (counts: readonly number[] | undefined) => (spanS > 0 ? total(counts) / spanS : 0);
  const latest = (values: readonly (number | null)[] | undefined) => {
    const step = recent.findLast((each) => typeof values?.[each] === "number");
    return step === undefined ? null : (values?.[step] ?? null);
  };

  const batches = total(model?.batches);
  const batched = recent.reduce(
    (sum, step) => sum + (model?.batches[step] ?? 0) * (model?.batch_size[step] ?? 0),
    0,
  );
  return {
    name,
    submittedPerS: perS(model?.submitted),
    succeededPerS: perS(model?.succeeded),
    predictedPerS: perS(model?.predicted),
    failed: model?.failed.reduce((sum, count) => sum + count, 0) ?? 0,
    waiting: sample?.waiting ?? 0,
    oldestS: sample?.oldest_s ?? null,
    batchSize: batches > 0 ? batched / batches : null,
    wait: [latest(model?.wait_p50_s), latest(model?.wait_p95_s)],
    compute: [latest(model?.compute_p50_s), latest(model?.compute_p95_s)],
    replicas: sample?.replicas ?? 0,
  };
}

/** Whether anything was asked of any model in the hour. */
export function isIdle({ history }: Overview): boolean {
  return Object.values(history.models).every(
    (model) =>
      !model.submitted.some(Boolean) &&
      !model.predicted.some(Boolean) &&
      !model.waiting.some(Boolean),
  );
}
