import { expect, test, vi } from "vitest";
import type { Problem } from "@/api/client";
import { ApiError } from "@/api/client";
import { replay } from "@/api/jobs";
import { PAGE, type Progress, replayAll, type Wanted } from "./replay";

/** The API's end: `dead` jobs of one group, of which some cannot be repeated; gone with the request `fail`. */
function serve(dead: number, { broken = [] as string[], fail = 20 } = {}) {
  let left = Array.from({ length: dead }, (_, n) => `dead-${n}`);
  const requests: Record<string, unknown>[] = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    const asked = (await request.json()) as { job_ids?: string[]; limit?: number };
    requests.push(asked);
    if (requests.length >= fail) throw new TypeError("connection refused");
    const page = left.filter((id) => asked.job_ids?.includes(id) ?? true).slice(0, asked.limit);
    const done = page.filter((id) => !broken.includes(id));
    left = left.filter((id) => !done.includes(id));
    const items = page.map((parent_id) =>
      broken.includes(parent_id)
        ? { parent_id, problem: { detail: "no such model" } as Problem }
        : { parent_id, job_id: `new-${parent_id}` },
    );
    return Response.json({ replayed: done.length, remaining: left.length, items });
  });
  return { requests, left: () => left };
}

async function run(wanted: Wanted, signal = new AbortController().signal) {
  const told: Progress[] = [];
  await replayAll(wanted, replay, (progress) => told.push(progress), signal);
  const last = told.at(-1);
  if (!last) throw new Error("nothing was told");
  return { told, last };
}

const group = (count: number) => ({ model_name: "m", error_code: "replica_died", count });

test("a group is repeated page by page until nothing is left", async () => {
  const api = serve(2 * PAGE + 30);
  const { told, last } = await run(group(2 * PAGE + 20));
  expect(api.requests).toEqual(
    Array.from({ length: 3 }, () => ({
      model_name: "m",
      error_code: "replica_died",
      limit: PAGE,
    })),
  );
  expect(told.map(({ replayed }) => replayed.length)).toEqual([0, 100, 200, 230]);
  expect(last).toMatchObject({ total: 230, problems: [], error: null, over: true });
  expect(last.replayed[7]).toEqual({ parent_id: "dead-7", job_id: "new-dead-7" });
});

test("jobs that cannot be repeated do not keep it going for ever", async () => {
  const api = serve(3, { broken: ["dead-1"] });
  const { last } = await run(group(3));
  expect(api.requests.length).toBe(2);
  expect(last.problems).toEqual([{ parent_id: "dead-1", detail: "no such model" }]);
  expect([last.total, last.replayed.length]).toEqual([3, 2]);
});

test("of a selection, jobs that somebody has repeated before are told apart", async () => {
  serve(2);
  const { last } = await run({ job_ids: ["dead-0", "long-gone", "dead-1"] });
  expect(last.replayed.map(({ parent_id }) => parent_id)).toEqual(["dead-0", "dead-1"]);
  expect(last.problems).toEqual([{ parent_id: "long-gone", detail: null }]);
});

test("when it is told to stop, the page that was sent still counts", async () => {
  const api = serve(5 * PAGE);
  const controller = new AbortController();
  const told: Progress[] = [];
  await replayAll(
    group(5 * PAGE),
    (request) => {
      controller.abort();
      return replay(request);
    },
    (progress) => told.push(progress),
    controller.signal,
  );
  expect(told.at(-1)).toMatchObject({ over: true, error: null });
  expect(told.at(-1)?.replayed.length).toBe(PAGE);
  expect(api.left().length).toBe(4 * PAGE);
});

test("an API that goes away ends it, and what was done is not forgotten", async () => {
  serve(3 * PAGE, { fail: 2 });
  const { last } = await run(group(3 * PAGE));
  expect(last.error).toBeInstanceOf(ApiError);
  expect([last.replayed.length, last.total, last.over]).toEqual([PAGE, 3 * PAGE, true]);
});
