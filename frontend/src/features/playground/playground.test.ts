import { expect, test } from "vitest";
import { parseCsv, usable } from "./csv";
import { fieldsOf, readField, typedAs } from "./fields";
import { parseNumbers } from "./numbers";
import { SAMPLES, sample } from "./samples";
import { asCurl, asPython, quoted } from "./snippets";

test("numbers may be separated by anything but a point", () => {
  const values = [1, -2.5, 3e-4, 0.5, 7];
  for (const text of [
    "1,-2.5;3e-4 .5\n7",
    "[1, -2.5, 3E-4, 0.5, +7.]",
    " 1\t-2.5\r\n3e-4|0.5\t\t7, ",
  ])
    expect(parseNumbers(text)).toEqual({ values, bad: [] });
  expect(parseNumbers(" \n")).toEqual({ values: [], bad: [] });
});

test("each value that is no number is named", () => {
  expect(parseNumbers("1, 2x, 3, NaN, 0x10, 1e999, 1.2.3").bad).toEqual([
    { position: 2, text: "2x" },
    { position: 4, text: "NaN" },
    { position: 5, text: "0x10" },
    { position: 6, text: "1e999" },
    { position: 7, text: "1.2.3" },
  ]);
});

test("a CSV file's header names its columns", async () => {
  const columns = await parseCsv('\uFEFFtime;"load; kW";note\n10:00;1.5;a\n\n11:00;2.5;b\n');
  expect(columns).toEqual([
    { name: "time", values: [], bad: { row: 2, text: "10:00" } },
    { name: "load; kW", values: [1.5, 2.5], bad: null },
    { name: "note", values: [], bad: { row: 2, text: "a" } },
  ]);
  expect(usable(columns).map(({ name }) => name)).toEqual(["load; kW"]);
});

test("a CSV file without a header keeps its first row", async () => {
  expect(await parseCsv("1,10\n2,20\n3,\n")).toEqual([
    { name: "#1", values: [1, 2, 3], bad: null },
    { name: "#2", values: [10, 20], bad: { row: 3, text: "" } },
  ]);
  expect(await parseCsv("1\n2\n")).toEqual([{ name: "#1", values: [1, 2], bad: null }]);
  expect(await parseCsv("")).toEqual([]);
});

const SCHEMA = {
  properties: {
    steps: { type: "integer", minimum: 1, maximum: 512, default: 5, title: "Steps" },
    season: {
      anyOf: [{ type: "integer", minimum: 1 }, { type: "null" }],
      default: null,
      description: "Left out, it is found.",
    },
    share: { type: "number", exclusiveMinimum: 0, exclusiveMaximum: 1 },
    method: { $ref: "#/$defs/Method", default: "ets" },
    fast: { type: "boolean", default: false },
    name: { type: "string" },
    weights: { type: "array", items: { type: "number" } },
    other: { type: "object" },
  },
  required: ["name"],
  $defs: { Method: { enum: ["ets", "theta"], type: "string" } },
};

test("a config's schema becomes fields", () => {
  const fields = fieldsOf(SCHEMA);
  expect(fields.map(({ name, kind, fallback }) => [name, kind, fallback])).toEqual([
    ["steps", "integer", "5"],
    ["season", "integer", null],
    ["share", "number", null],
    ["method", "choice", '"ets"'],
    ["fast", "boolean", "false"],
    ["name", "text", null],
    ["weights", "numbers", null],
    ["other", "json", null],
  ]);
  expect(fields[1]).toMatchObject({ min: 1, max: null, description: "Left out, it is found." });
  expect(fields[3]).toMatchObject({ options: ["ets", "theta"] });
});

test("what is typed becomes the config's values, or says what is wrong", () => {
  const fields = new Map(fieldsOf(SCHEMA).map((field) => [field.name, field]));
  const read = (name: string, text: string) => {
    const field = fields.get(name);
    if (!field) throw new Error(name);
    return readField(field, text);
  };
  expect(read("steps", "")).toBeUndefined();
  expect(read("name", " ")).toEqual({ problem: "required" });
  expect(read("steps", "24")).toEqual({ value: 24 });
  expect(read("steps", "2.5")).toEqual({ problem: "integer" });
  expect(read("steps", "0")).toEqual({ problem: "atLeast", bound: 1 });
  expect(read("steps", "513")).toEqual({ problem: "atMost", bound: 512 });
  expect(read("share", "0")).toEqual({ problem: "above", bound: 0 });
  expect(read("share", "1")).toEqual({ problem: "below", bound: 1 });
  expect(read("share", "half")).toEqual({ problem: "number" });
  expect(read("method", "theta")).toEqual({ value: "theta" });
  expect(read("fast", "true")).toEqual({ value: true });
  expect(read("weights", "[1, 2.5]")).toEqual({ value: [1, 2.5] });
  expect(read("weights", "1, x")).toEqual({ problem: "numbers" });
  expect(read("other", '{"a": 1}')).toEqual({ value: { a: 1 } });
  expect(read("other", "{")).toEqual({ problem: "json" });
});

test("a value is typed as it is read", () => {
  const values = { steps: 5, share: 0.5, method: "theta", fast: true, name: "n", weights: [1, 2] };
  for (const field of fieldsOf(SCHEMA)) {
    const value: unknown = values[field.name as keyof typeof values];
    if (value !== undefined) expect(readField(field, typedAs(field, value))).toEqual({ value });
  }
});

const CALL = {
  model_name: "it's",
  data: [1, 2.5],
  config: { steps: 5, season: null, lambda: true, "max-steps": 1, word: 'a "b" \\ é\n' },
};

test("the shell gets the body as it is", () => {
  const command = asCurl("http://host:8000/sub/", "predict", CALL, null);
  expect(command).toBe(
    "curl -sS http://host:8000/sub/api/v1/inference/predict \\\n" +
      "  -H 'Content-Type: application/json' \\\n" +
      `  -d '{"model_name":"it'\\''s","data":[1,2.5],"config":{"steps":5,"season":null,"lambda":true,` +
      `"max-steps":1,"word":"a \\"b\\" \\\\ é\\n"}}'`,
  );
  expect(quoted("a b?")).toBe("'a b?'");
  const header = '-H "Authorization: Bearer $SATELLITE_API_KEY"';
  expect(asCurl("http://host/", "submit", CALL, header).split("\n")[1]).toBe(`  ${header} \\`);
});

test("Python gets literals, and in a dictionary what it cannot name", () => {
  expect(asPython("http://host:8000/sub/", "predict", { ...CALL, model_version: "2.0.0" })).toBe(`\
import satellite

with satellite.Client("http://host:8000/sub") as client:
    result = client.predict(
        "it's",
        [1, 2.5],
        model_version="2.0.0",
        steps=5,
        season=None,
        word="a \\"b\\" \\\\ é\\n",
        **{"lambda": True, "max-steps": 1},
    )
    print(result.output)
`);
  const job = { model_name: "m", data: { a: false }, priority: 9, labels: { k: "v" } };
  expect(asPython("http://host/", "submit", job)).toBe(`\
import satellite

with satellite.Client("http://host") as client:
    job = client.submit(
        "m",
        {"a": False},
        job={"priority": 9, "labels": {"k": "v"}},
    )
    result = client.result(job)
    print(result.output)
`);
});

test("samples are series of their own that never change", () => {
  const made = SAMPLES.map((name) => sample(name));
  for (const values of made) expect(values.every(Number.isFinite)).toBe(true);
  expect(new Set(made.map(String)).size).toBe(SAMPLES.length);
  expect(made).toEqual(SAMPLES.map((name) => sample(name)));
});
