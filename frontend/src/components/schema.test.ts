import { expect, test } from "vitest";
import { boundsText, typeText } from "./schema";

const ROOT = { $defs: { Method: { type: "string", enum: ["ets", "theta"] } } };

test.each([
  [{ type: "integer", minimum: 1, maximum: 512 }, "integer", "1 ≤ x ≤ 512"],
  [
    { anyOf: [{ type: "number", exclusiveMinimum: 0 }, { type: "null" }] },
    "number | null",
    "0 < x",
  ],
  [{ $ref: "#/$defs/Method", default: "ets" }, '"ets" | "theta"', null],
  [
    { type: "array", items: { type: "number", maximum: 9 }, minItems: 4, maxItems: 8 },
    "number[]",
    "4 ≤ n ≤ 8, x ≤ 9",
  ],
  [
    { type: "array", items: { anyOf: [{ type: "number" }, { type: "null" }] } },
    "(number | null)[]",
    null,
  ],
  [
    { type: "object", additionalProperties: { type: "array", items: { type: "number" } } },
    "{ [name]: number[] }",
    null,
  ],
  [{}, "any", null],
])("a schema is readable: %j", (schema, type, bounds) => {
  expect(typeText(schema, ROOT)).toBe(type);
  expect(boundsText(schema, ROOT)).toBe(bounds);
});
