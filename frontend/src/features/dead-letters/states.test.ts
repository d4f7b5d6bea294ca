import { expect, test } from "vitest";
import { createdAt, withStates } from "./states";

test("a job that has ended stays as it is, one that is run again does not", () => {
  let states = withStates(new Map(), [
    ["a", "queued"],
    ["b", "running"],
  ]);
  states = withStates(states, [
    ["a", "succeeded"],
    ["b", "queued"],
  ]);
  states = withStates(states, [["a", "running"]]);
  expect([...states]).toEqual([
    ["a", "succeeded"],
    ["b", "queued"],
  ]);
});

test("an id tells when its job was created", () => {
  expect(createdAt("0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d")).toBe(0x0193f3a26c1e);
});
