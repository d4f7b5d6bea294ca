import { expect, test } from "vitest";
import type { OverviewMessage } from "./live";
import {
  emptyHistory,
  type ModelHistory,
  type ModelSample,
  type Overview,
  withSample,
} from "./overview";

const NOON = Date.parse("2026-01-05T12:00:00Z");
const at = (seconds: number) => new Date(NOON + seconds * 1000).toISOString();
const cluster = { nodes: [], replicas: [], ingresses: 1, dashboard_url: null };

const history = (steps: Partial<ModelHistory>, length: number) => ({
  ...emptyHistory(length),
  ...steps,
});

const sample = (fields: Partial<ModelSample>): ModelSample => ({
  submitted: 0,
  succeeded: 0,
  failed: 0,
  predicted: 0,
  waiting: 0,
  batches: 0,
  batch_size: null,
  wait_p50_s: null,
  wait_p95_s: null,
  compute_p50_s: null,
  compute_p95_s: null,
  replicas: 1,
  oldest_s: null,
  ...fields,
});

/** What was read at 12:00:12: the step of 12:00:00 is over. */
const read: Overview = {
  step_s: 10,
  complete: true,
  history: { at: [at(0)], models: { m: history({ submitted: [50] }, 1) } },
  now: { at: at(12), span_s: 2, models: { m: sample({}) } },
  cluster,
  spans_s: [10],
};

const message = (seconds: number, fields: Partial<ModelSample>): OverviewMessage => ({
  type: "overview",
  now: { at: at(seconds), span_s: 2, models: { m: sample(fields) } },
  cluster,
  complete: true,
});

test("samples make a new step, and are added to it until it is over", () => {
  let known = withSample(read, message(14, { submitted: 4, waiting: 7 }));
  expect(known.history.at).toEqual([at(0), at(10)]);
  known = withSample(known, message(20, { submitted: 6, waiting: 3 }));
  expect(known.history.at).toEqual([at(0), at(10)]);
  expect(known.history.models.m).toMatchObject({ submitted: [50, 10], waiting: [0, 3] });
  expect(known.spans_s).toEqual([10, 4]);
  known = withSample(known, message(22, { submitted: 1 }));
  expect(known.history.at).toEqual([at(0), at(10), at(20)]);
  expect(known.history.models.m?.submitted).toEqual([50, 10, 1]);
});

test("medians are weighted by their batches, the highest of the others counts, nothing changes neither", () => {
  let known = withSample(
    read,
    message(14, { batches: 3, batch_size: 8, wait_p50_s: 1, wait_p95_s: 2 }),
  );
  known = withSample(
    known,
    message(16, { batches: 1, batch_size: 4, wait_p50_s: 3, wait_p95_s: 1 }),
  );
  known = withSample(known, message(18, {}));
  expect(known.history.models.m).toMatchObject({
    batches: [0, 4],
    batch_size: [null, 7],
    wait_p50_s: [null, 1.5],
    wait_p95_s: [null, 2],
    compute_p50_s: [null, null],
  });
});

test("a sample that is known already counts once", () => {
  const known = withSample(read, message(14, { submitted: 4 }));
  expect(withSample(known, message(14, { submitted: 4 })).history).toEqual(known.history);
  expect(withSample(known, message(12, { submitted: 4 })).history).toEqual(known.history);
});

test("what is older than an hour is dropped, and a new model gets a line of its own", () => {
  const known = withSample(read, {
    ...message(3602, { submitted: 1 }),
    now: { at: at(3602), span_s: 2, models: { n: sample({ submitted: 1 }) } },
  });
  expect(known.history.at).toEqual([at(3600)]);
  expect(known.history.models).toMatchObject({ m: { submitted: [0] }, n: { submitted: [1] } });
  expect(known.spans_s).toEqual([2]);
});
