import { expect, test } from "vitest";
import { segmentsOf } from "./timeline";

const sum = (widths: number[]) => widths.reduce((all, one) => all + one, 0);

test("parts fill the bar in proportion and in order, without those that took no time", () => {
  expect(segmentsOf({ admission: 0, queue: 1, batch_fill: 2, compute: 1 })).toEqual([
    { name: "queue", seconds: 1, width: 25 },
    { name: "batch_fill", seconds: 2, width: 50 },
    { name: "compute", seconds: 1, width: 25 },
  ]);
});

test("what took very little is still seen, and the bar is not longer for it", () => {
  const found = segmentsOf({ admission: 0.0001, queue: 600, compute: 0.002, recording: 400 });
  const widths = found.map(({ width }) => width);
  expect(Math.min(...widths)).toBeGreaterThan(0.5);
  expect(sum(widths)).toBeCloseTo(100, 6);
  expect((widths[1] ?? 0) / (widths[3] ?? 1)).toBeCloseTo(1.5, 6);
});

test("nothing makes no bar", () => {
  expect(segmentsOf({ queue: 0 })).toEqual([]);
  expect(segmentsOf({})).toEqual([]);
});
