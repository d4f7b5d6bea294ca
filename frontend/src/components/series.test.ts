import { expect, test } from "vitest";
import { asSeries, draw, from, isDrawable, type SeriesLabels } from "./series";

const LABELS: SeriesLabels = {
  history: "history",
  forecast: "forecast",
  anomalies: "anomalies",
  scores: "scores",
  threshold: "threshold",
  quantile: (quantile) => `q${quantile}`,
};

test("a forecast joins its history, with the outer quantiles as its band", () => {
  const output = {
    forecast: [3, 4],
    quantiles: { "0.9": [5, 6], "0.5": [3, 4], "0.1": [1, 2] },
    note: "n",
  };
  const { main, scores, rest } = draw([1, 2], output, LABELS);
  expect(main.x).toEqual([0, 1, 2, 3]);
  expect(main.series.map(({ label, values, bandTo }) => [label, values, bandTo])).toEqual([
    ["history", [1, 2, null, null], undefined],
    ["forecast", [null, 2, 3, 4], undefined],
    ["q0.9", [null, 2, 5, 6], undefined],
    ["q0.1", [null, 2, 1, 2], "q0.9"],
  ]);
  expect(scores).toBeNull();
  expect(rest).toEqual({ note: "n" });
  expect(from(main, 2).series[1]?.values).toEqual([3, 4]);
});

test("anomalies are points on the series, scores a drawing of their own", () => {
  const output = { scores: [1, 9, 1], threshold: 2, anomalies: [1] };
  const { main, scores, rest } = draw([5, 50, 5], output, LABELS);
  expect(main.series[1]).toMatchObject({ values: [null, 50, null], points: true });
  expect(scores?.series.map(({ values }) => values)).toEqual([
    [1, 9, 1],
    [2, 2, 2],
  ]);
  expect(rest).toBeNull();
});

test("what does not fit the series is left as it is", () => {
  const output = { forecast: ["a"], anomalies: [7], scores: [1], quantiles: 5 };
  const { main, rest } = draw([1, 2], output, LABELS);
  expect(main.series).toHaveLength(1);
  expect(rest).toEqual(output);
  expect(isDrawable({ classes: ["a"] })).toBe(false);
});

test("a series is a list of finite numbers", () => {
  expect(asSeries([1, 2.5])).toEqual([1, 2.5]);
  for (const other of [[], [1, "2"], [[1]], "1,2", null]) expect(asSeries(other)).toBeNull();
});
