import { expect, test } from "vitest";
import { emptyHistory, type ModelHistory, type Overview } from "@/api/overview";
import { isIdle, summaryOf } from "./summary";
import { sum, timelineOf } from "./timeline";

const START = Date.parse("2026-01-05T12:00:00Z") / 1000;
const at = (seconds: number) => new Date((START + seconds) * 1000).toISOString();

function overview(seconds: number[], columns: Partial<ModelHistory>, spans?: number[]): Overview {
  const model = { ...emptyHistory(seconds.length), ...columns };
  const last = seconds.at(-1) ?? 0;
  return {
    step_s: 10,
    complete: true,
    history: { at: seconds.map(at), models: { m: model } },
    now: { at: at(last + 10), span_s: 2, models: {} },
    cluster: { nodes: [], replicas: [], ingresses: 1, dashboard_url: null },
    spans_s: spans ?? seconds.map(() => 10),
  };
}

test("counts become rates of the seconds that were counted", () => {
  const { at, models } = timelineOf(overview([0, 10], { submitted: [50, 10] }, [10, 4]));
  expect(at).toEqual([START + 10, START + 14]);
  expect(models.get("m")?.submittedPerS).toEqual([5, 2.5]);
});

test("where nothing was counted the lines have a gap", () => {
  const { at, models } = timelineOf(overview([0, 10, 100], { waiting: [1, 2, 3] }));
  expect(at).toEqual([START + 10, START + 20, START + 30, START + 110]);
  expect(models.get("m")?.waiting).toEqual([1, 2, null, 3]);
});

test("failures are those of the last minute", () => {
  const { models } = timelineOf(
    overview([0, 10, 20, 30, 40, 50, 60], { failed: [1, 0, 2, 0, 0, 0, 1] }),
  );
  expect(models.get("m")?.failedLastMin).toEqual([1, 1, 3, 3, 3, 3, 3]);
});

test("lines are added up point by point", () => {
  expect(
    sum([
      [1, null, 2],
      [3, null, null],
    ]),
  ).toEqual([4, null, 2]);
});

test("a summary has the rates of the last 30 s, and the hour's failures", () => {
  const found = summaryOf(
    overview([0, 10, 20, 30, 40], {
      submitted: [900, 900, 30, 30, 30],
      batches: [9, 9, 1, 0, 3],
      batch_size: [8, 8, 8, null, 4],
      failed: [1, 0, 0, 0, 1],
      wait_p50_s: [9, 9, 0.5, null, null],
    }),
    "m",
  );
  expect(found).toMatchObject({ submittedPerS: 3, batchSize: 5, failed: 2, wait: [0.5, null] });
});

test("rates of long ago are no rates of now", () => {
  const { now, ...rest } = overview([0, 10], { submitted: [100, 100] });
  const found = summaryOf({ ...rest, now: { ...now, at: at(600) } }, "m");
  expect(found.submittedPerS).toBe(0);
});

test("a system that was asked nothing is idle", () => {
  expect(isIdle(overview([0, 10], {}))).toBe(true);
  expect(isIdle(overview([0, 10], { predicted: [0, 1] }))).toBe(false);
});
