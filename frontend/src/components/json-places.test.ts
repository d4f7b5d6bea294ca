import { expect, test } from "vitest";
import { lineOf, NotJson, placeOf, placesOf } from "./json-places";

const text = `{
  "data": [1, 2,
    [3, "a]\\"b"]],
  "config": {"a/b": {"~": null}, "empty": [ ]}
}`;
const at = (pointer: string) => text.slice(placeOf(placesOf(text), pointer));

test("every value is found where it stands", () => {
  expect(at("/data/0")).toMatch(/^1,/);
  expect(at("/data/2/1")).toMatch(/^"a]/);
  expect(at("/config/a~1b/~0")).toMatch(/^null/);
  expect(at("/config/empty")).toMatch(/^\[ \]/);
  expect(lineOf(text, placeOf(placesOf(text), "/data/2/0"))).toBe(3);
});

test("what is missing is pointed at where it should be", () => {
  expect(at("/config/forecast_steps")).toMatch(/^{"a\/b"/);
  expect(placeOf(placesOf(text), "/labels")).toBe(0);
});

test("what is no JSON is found where it ceases to be", () => {
  const wrongAt = (broken: string) => {
    try {
      placesOf(broken);
      return null;
    } catch (error) {
      return error instanceof NotJson ? error.offset : error;
    }
  };
  expect(wrongAt('{\n  "data": [1, ,2]\n}')).toBe(16);
  expect(wrongAt("")).toBe(0);
  expect(wrongAt("[1] 2")).toBe(4);
  expect(wrongAt('{"a": 01}')).toBe(7);
  expect(wrongAt('{"a": 1,}')).toBe(8);
  expect(wrongAt('["a\nb"]')).toBe(1);
  expect(wrongAt('[1, "a"')).toBe(7);
  expect(wrongAt(' {"a": [], "b": -1.5e3} ')).toBeNull();
});
