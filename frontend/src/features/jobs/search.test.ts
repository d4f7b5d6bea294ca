import { expect, test } from "vitest";
import { filterOf, fromLocal, jobsSearch, toLocal } from "./search";

test("filters in the address become the API's query", () => {
  const search = jobsSearch({
    model: "moving_average",
    status: ["dead", "queued"],
    label: ["team=grid", "run=night"],
    after: "2026-01-05T12:00:00+01:00",
    before: "2026-01-06T00:00:00Z",
    parent: "0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d",
  });
  expect(filterOf(search)).toEqual({
    model_name: "moving_average",
    status: ["queued", "dead"],
    label: ["team=grid", "run=night"],
    created_after: "2026-01-05T11:00:00.000Z",
    created_before: "2026-01-06T00:00:00.000Z",
    parent_id: "0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d",
  });
  expect(jobsSearch({ ...search })).toEqual(search);
});

test("one value is a list of one, and numbers are words", () => {
  expect(jobsSearch({ status: "dead", model: 7, label: "n=1" })).toEqual({
    model: "7",
    status: ["dead"],
    label: ["n=1"],
  });
});

test("what makes no sense is left out", () => {
  expect(
    jobsSearch({
      model: "",
      status: ["done", { a: 1 }],
      label: ["=x", "team"],
      after: "yesterday",
      before: null,
      parent: "1",
      page: 3,
    }),
  ).toEqual({});
  expect(filterOf({})).toEqual({});
});

test("a local time comes back as it was entered", () => {
  expect(toLocal(fromLocal("2026-03-29T14:30"))).toBe("2026-03-29T14:30");
  expect(fromLocal("")).toBeUndefined();
  expect(toLocal(undefined)).toBe("");
});
