import { expect, test } from "vitest";
import { ApiError } from "@/api/client";
import type { ModelInfo } from "@/api/models";
import { exampleForm, readForm, saidOf } from "./form";

const MODEL = {
  name: "m",
  input_schema: { type: "array", items: { type: "number" } },
  config_schema: {
    properties: { steps: { type: "integer", default: 5 }, method: { enum: ["a", "b"] } },
  },
  example: { model_name: "m", data: [1, 2.5], config: { steps: 3 } },
} as unknown as ModelInfo;

const OF_PICTURES = {
  ...MODEL,
  input_schema: { type: "object" },
  example: { model_name: "m", data: { url: "x" } },
} as unknown as ModelInfo;

test("a model's example fills the form, and is read back as the call", () => {
  expect(readForm(MODEL, exampleForm(MODEL, "predict"))).toEqual({
    call: { model_name: "m", data: [1, 2.5], config: { steps: 3 } },
    problems: new Map(),
  });
  expect(readForm(OF_PICTURES, exampleForm(OF_PICTURES, "predict")).call).toEqual({
    model_name: "m",
    data: { url: "x" },
  });
});

test("what only a job has is left out of a predict", () => {
  const form = {
    ...exampleForm(MODEL, "submit"),
    priority: "7",
    deadline: "90",
    labels: ["team=a=b"],
    version: "2",
  };
  const job = { priority: 7, deadline_s: 90, labels: { team: "a=b" } };
  const call = { model_name: "m", data: [1, 2.5], config: { steps: 3 }, model_version: "2" };
  expect(readForm(MODEL, form).call).toEqual({ ...call, ...job });
  expect(readForm(MODEL, { ...form, mode: "predict" }).call).toEqual(call);
});

test("each mistake is known by its place in the call", () => {
  const form = exampleForm(MODEL, "submit");
  const wrong = { ...form, data: "1, x", config: { steps: "y" }, deadline: "0", labels: ["k"] };
  expect([...readForm(MODEL, wrong).problems]).toEqual([
    ["/data", { problem: "badValues", bad: [{ position: 2, text: "x" }] }],
    ["/config/steps", { problem: "number" }],
    ["/deadline_s", { problem: "above", bound: 0 }],
    ["/labels", { problem: "label", text: "k" }],
  ]);
  expect(readForm(OF_PICTURES, { ...form, data: "{" }).problems.get("/data")).toEqual({
    problem: "json",
  });
});

function refused(...errors: [pointer: string, detail: string][]) {
  const problem = {
    type: "",
    title: "",
    status: 422,
    detail: "",
    code: "invalid_request",
    request_id: null,
    retry_after_s: null,
    errors: errors.map(([pointer, detail]) => ({ pointer, detail })),
  };
  return new ApiError("", 422, "invalid_request", problem);
}

test("what the API refuses is said at the field", () => {
  const said = saidOf(refused(["/data/3", "not a number"], ["/config/steps", "too many"]));
  expect([...(said ?? [])]).toEqual([
    ["/data", "/data/3: not a number"],
    ["/config/steps", "too many"],
  ]);
  expect(saidOf(refused(["/data", "too short"], ["/run_at", "no time"]))).toBeNull();
  expect(saidOf(refused())).toBeNull();
});
