import { queryOptions, useQuery, useQueryClient } from "@tanstack/react-query";
import { body, client, type Schemas } from "./client";
import type { OverviewMessage } from "./live";
import { useFallbackInterval, useLive } from "./live-hooks";

type Answer = Schemas["Overview"];
export type Sample = Schemas["Sample"];
export type ClusterInfo = Schemas["ClusterInfo"];
export type ModelHistory = Schemas["ModelHistory"];
export type ModelSample = Schemas["ModelSample"];

/** The overview as it was read, and what came live since. */
export interface Overview extends Answer {
  /** How many seconds of each step of the history were counted: the last one still goes on. */
  spans_s: readonly number[];
}

/** The hour that the history holds. */
const HISTORY_S = 3600;

export const overviewQuery = queryOptions({
  queryKey: ["overview"],
  queryFn: async ({ signal }): Promise<Overview> => {
    const answer = await body(client.GET("/api/v1/overview", { signal }));
    return { ...answer, spans_s: answer.history.at.map(() => answer.step_s) };
  },
  // It is read whole once, and live from then on.
  staleTime: Number.POSITIVE_INFINITY,
});

/** How all models do: the last hour, and now, every 2 s. */
export function useOverview() {
  const queries = useQueryClient();
  useLive({ overview: true }, (message) => {
    if (message.type !== "overview") return;
    queries.setQueryData(overviewQuery.queryKey, (known) => known && withSample(known, message));
  });
  return useQuery({
    ...overviewQuery,
    // What was missed while nobody listened is read again.
    refetchOnMount: "always",
    refetchInterval: useFallbackInterval(),
    // Samples are new objects through and through: to compare them with the old ones would be for nothing.
    structuralSharing: false,
  });
}

/**
 * Let what was counted in the last seconds follow what is known.
 *
 * It is added to the step of the history it belongs to. Percentiles cannot be added: of a step that is made of samples
 * the median is that of its samples, weighted by their batches, and the 95th percentile the highest. The next answer
 * of the API has them exactly.
 */
export function withSample(known: Overview, message: OverviewMessage): Overview {
  const { now, cluster, complete } = message;
  if (Date.parse(now.at) <= Date.parse(known.now.at)) return { ...known, cluster };
  const stepMs = known.step_s * 1000;
  // What was counted up to a moment was counted before it.
  const start = Math.floor((Date.parse(now.at) - 1) / stepMs) * stepMs;
  const last = known.history.at.at(-1);
  const goesOn = last !== undefined && Date.parse(last) === start;
  const keep = goesOn ? known.history.at.length - 1 : known.history.at.length;
  const oldest = start - HISTORY_S * 1000;
  const drop = known.history.at.findIndex((at) => Date.parse(at) > oldest);
  const from = drop === -1 ? keep : Math.min(drop, keep);

  const models: Record<string, ModelHistory> = {};
  for (const name of new Set([...Object.keys(known.history.models), ...Object.keys(now.models)])) {
    const before = known.history.models[name] ?? emptyHistory(known.history.at.length);
    models[name] = extended(before, now.models[name], from, keep, goesOn);
  }
  const spanBefore = goesOn ? (known.spans_s.at(-1) ?? 0) : 0;
  return {
    ...known,
    now,
    cluster,
    complete,
    history: { at: [...known.history.at.slice(from, keep), new Date(start).toISOString()], models },
    spans_s: [...known.spans_s.slice(from, keep), spanBefore + now.span_s],
  };
}

const COUNTS = ["submitted", "succeeded", "failed", "predicted"] as const;
const MEDIANS = ["wait_p50_s", "compute_p50_s", "batch_size"] as const;
const HIGHEST = ["wait_p95_s", "compute_p95_s"] as const;

/** A model's history from one step to another, and a last one: with the sample added to it, or of the sample alone. */
function extended(
  before: ModelHistory,
  sample: ModelSample | undefined,
  from: number,
  keep: number,
  goesOn: boolean,
): ModelHistory {
  const lastOf = <T>(values: readonly T[]) => (goesOn ? values.at(-1) : undefined);
  const then = <T>(values: readonly T[], value: T) => [...values.slice(from, keep), value];
  const batches = { before: lastOf(before.batches) ?? 0, now: sample?.batches ?? 0 };

  const counts = COUNTS.map((name) => [
    name,
    then(before[name], (lastOf(before[name]) ?? 0) + (sample?.[name] ?? 0)),
  ]);
  const medians = MEDIANS.map((name) => [
    name,
    then(before[name], weighted(lastOf(before[name]), batches.before, sample?.[name], batches.now)),
  ]);
  const highest = HIGHEST.map((name) => [
    name,
    then(before[name], greater(lastOf(before[name]), sample?.[name])),
  ]);
  return {
    ...(Object.fromEntries([...counts, ...medians, ...highest]) as ModelHistory),
    waiting: then(before.waiting, sample?.waiting ?? 0),
    batches: then(before.batches, batches.before + batches.now),
  };
}

type Value = number | null | undefined;

function weighted(one: Value, weight: number, other: Value, otherWeight: number): number | null {
  if (typeof one !== "number") return other ?? null;
  if (typeof other !== "number") return one;
  const all = weight + otherWeight;
  return all === 0 ? other : (one * weight + other * otherWeight) / all;
}

function greater(one: Value, other: Value): number | null {
  if (typeof one !== "number") return other ?? null;
  return typeof other === "number" ? Math.max(one, other) : one;
}

/** The history of a model of which nothing was counted in so many steps. */
export function emptyHistory(length: number): ModelHistory {
  const nothing = Array.from({ length }, () => 0);
  const none = Array.from({ length }, () => null);
  return {
    submitted: nothing,
    succeeded: nothing,
    failed: nothing,
    predicted: nothing,
    waiting: nothing,
    batches: nothing,
    batch_size: none,
    wait_p50_s: none,
    wait_p95_s: none,
    compute_p50_s: none,
    compute_p95_s: none,
  };
}
