import { expect, test } from "vitest";
import { choose, chooseAll, NOTHING } from "./selection";

const order = ["a", "b", "c", "d", "e"];
const chosen = (selection: typeof NOTHING) => [...selection.ids].sort();

test("shift chooses from the last row to this one, in both directions", () => {
  const one = choose(NOTHING, order, "d", false);
  const some = choose(one, order, "b", true);
  expect(chosen(some)).toEqual(["b", "c", "d"]);
  expect(chosen(choose(some, order, "e", true))).toEqual(["b", "c", "d", "e"]);
});

test("shift leaves out as many as it chooses", () => {
  const all = chooseAll(NOTHING, order);
  const some = choose(choose(all, order, "b", false), order, "d", true);
  expect(chosen(some)).toEqual(["a", "e"]);
});

test("a last row that is no longer shown is no start of a range", () => {
  const gone = choose(NOTHING, ["z"], "z", false);
  expect(chosen(choose(gone, order, "c", true))).toEqual(["c", "z"]);
});

test("all, and none", () => {
  const all = chooseAll(NOTHING, order);
  expect(chosen(all)).toEqual(order);
  expect(chooseAll(all, order)).toBe(NOTHING);
});
