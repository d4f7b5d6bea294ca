import { expect, test } from "vitest";
import { type JobStep, withStep } from "./steps";

test("steps are kept once each, in the order of the job's life", () => {
  const step = (id: string): JobStep => ({
    id,
    status: "running",
    attempt: Number(id.split(".")[0]),
    at: "2026-01-05T12:00:00Z",
  });
  let known: readonly JobStep[] = [];
  for (const id of ["1.1", "1.0", "10.0", "2.0", "1.1"]) known = withStep(known, step(id));
  expect(known.map(({ id }) => id)).toEqual(["1.0", "1.1", "2.0", "10.0"]);
  expect(withStep(known, step("2.0"))).toBe(known);
});
