import type { ApiError } from "@/api/client";
import type { Call, Mode } from "@/api/inference";
import type { ModelInfo } from "@/api/models";
import { type FieldProblem, fieldsOf, isSeries, readField, readJson, typedAs } from "./fields";
import { type BadValue, parseNumbers, toNumber, writeNumbers } from "./numbers";

/** What was typed, all of it as text. */
export interface Form {
  mode: Mode;
  /** Numbers, or JSON where the model's input is something else. */
  data: string;
  /** By the setting's name; empty: the model's default. */
  config: Readonly<Record<string, string>>;
  /** Empty: the default version. */
  version: string;
  priority: string;
  deadline: string;
  /** `key=value` */
  labels: readonly string[];
}

export type Problem =
  | FieldProblem
  | { problem: "noData" }
  | { problem: "badValues"; bad: readonly BadValue[] }
  | { problem: "label"; text: string };

/** What is wrong, by the JSON pointer of the place in the call. */
export type Problems = ReadonlyMap<string, Problem>;

/** The model's example, ready to be sent. */
export function exampleForm(model: ModelInfo, mode: Mode): Form {
  const { data, config } = model.example as { data?: unknown; config?: Record<string, unknown> };
  return {
    mode,
    data: writeData(model, data),
    config: Object.fromEntries(
      fieldsOf(model.config_schema).map((field) => [
        field.name,
        typedAs(field, config?.[field.name]),
      ]),
    ),
    version: "",
    priority: "",
    deadline: "",
    labels: [],
  };
}

function writeData(model: ModelInfo, data: unknown): string {
  if (isSeries(model.input_schema) && Array.isArray(data)) return writeNumbers(data as number[]);
  return JSON.stringify(data, null, 2) ?? "";
}

/** The call that a form stands for. Where something is wrong the call is as good as it gets, without it. */
export function readForm(model: ModelInfo, form: Form): { call: Call; problems: Problems } {
  const problems = new Map<string, Problem>();
  const call: Call = { model_name: model.name, data: readData(model, form.data, problems) };

  const config: Record<string, unknown> = {};
  for (const field of fieldsOf(model.config_schema)) {
    const read = readField(field, form.config[field.name] ?? "");
    if (read === undefined) continue;
    if ("problem" in read) problems.set(`/config/${field.name}`, read);
    else config[field.name] = read.value;
  }
  if (Object.keys(config).length > 0) call.config = config;
  if (form.version !== "") call.model_version = form.version;
  if (form.mode === "predict") return { call, problems };

  if (form.priority !== "") call.priority = Number(form.priority);
  const deadline = form.deadline.trim();
  if (deadline !== "") {
    const seconds = toNumber(deadline);
    if (seconds === null) problems.set("/deadline_s", { problem: "number" });
    else if (seconds <= 0) problems.set("/deadline_s", { problem: "above", bound: 0 });
    else call.deadline_s = seconds;
  }
  const labels: Record<string, string> = {};
  for (const label of form.labels) {
    const [, key, value] = /^([^=]+)=(.*)$/.exec(label) ?? [];
    if (key === undefined || value === undefined)
      problems.set("/labels", { problem: "label", text: label });
    else labels[key.trim()] = value.trim();
  }
  if (Object.keys(labels).length > 0) call.labels = labels;
  return { call, problems };
}

function readData(model: ModelInfo, text: string, problems: Map<string, Problem>): unknown {
  if (!isSeries(model.input_schema)) {
    const read = readJson(text);
    if ("value" in read) return read.value;
    problems.set("/data", read);
    return null;
  }
  const { values, bad } = parseNumbers(text);
  if (bad.length > 0) problems.set("/data", { problem: "badValues", bad });
  else if (values.length === 0) problems.set("/data", { problem: "noData" });
  return values;
}

/** The parts of a call that the form has a place for. */
const PLACES = ["/data", "/model_version", "/priority", "/deadline_s", "/labels"];

/**
 * What the API says of a call, at the places of the form.
 *
 * @returns by JSON pointer; null: it says something that has no place there.
 */
export function saidOf(error: ApiError | null): ReadonlyMap<string, string> | null {
  const said = new Map<string, string>();
  for (const { pointer, detail } of error?.problem?.errors ?? []) {
    const place =
      PLACES.find((each) => pointer === each || pointer.startsWith(`${each}/`)) ??
      /^\/config\/[^/]+/.exec(pointer)?.[0];
    if (place === undefined) return null;
    // `/data/3` says more than the field does.
    const text = pointer === place ? detail : `${pointer}: ${detail}`;
    said.set(place, [said.get(place), text].filter(Boolean).join("\n"));
  }
  return said.size > 0 ? said : null;
}
