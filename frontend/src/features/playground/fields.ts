import { boundsText, isObject, narrowed, type Schema } from "@/components/schema";
import { toNumber } from "./numbers";

/** What a setting of a model's config is, as far as a form must know. */
export interface Field {
  name: string;
  kind: "number" | "integer" | "boolean" | "choice" | "text" | "numbers" | "json";
  title: string;
  description: string | null;
  required: boolean;
  /** As JSON; null: there is none, or it is null. */
  fallback: string | null;
  /** Of a choice. */
  options: readonly unknown[];
  min: number | null;
  max: number | null;
  /** Whether `min` or `max` itself is too little or too much. */
  minExcluded: boolean;
  maxExcluded: boolean;
  /** Both, for a reader. */
  bounds: string | null;
}

/** What is wrong with what was typed; the numbers are for its text. */
export type FieldProblem =
  | { problem: "required" | "number" | "integer" | "json" | "numbers" }
  | { problem: "atLeast" | "above" | "atMost" | "below"; bound: number };

/** The settings of a config's JSON Schema, in its order. */
export function fieldsOf(schema: Schema): Field[] {
  const properties = isObject(schema.properties) ? schema.properties : {};
  const required = Array.isArray(schema.required) ? schema.required : [];
  return Object.entries(properties).map(([name, found]) =>
    fieldOf(name, isObject(found) ? found : {}, required.includes(name), schema),
  );
}

function fieldOf(name: string, declared: Schema, required: boolean, root: Schema): Field {
  const schema = { ...narrowed(declared, root), ...pick(declared, ["title", "description"]) };
  const options = Array.isArray(schema.enum) ? schema.enum : null;
  const bound = (key: string) => (typeof schema[key] === "number" ? schema[key] : null);
  const [above, below] = [bound("exclusiveMinimum"), bound("exclusiveMaximum")];
  const fallback = declared.default ?? null;
  return {
    name,
    kind: options ? "choice" : kindOf(schema),
    title: typeof schema.title === "string" ? schema.title : name,
    description: typeof schema.description === "string" ? schema.description : null,
    required,
    fallback: fallback === null ? null : JSON.stringify(fallback),
    options: options ?? [],
    min: above ?? bound("minimum"),
    max: below ?? bound("maximum"),
    minExcluded: above !== null,
    maxExcluded: below !== null,
    bounds: boundsText(declared, root),
  };
}

/** Whether a schema is that of a series: numbers, one after the other. */
export function isSeries(schema: Schema): boolean {
  return kindOf(narrowed(schema, schema)) === "numbers";
}

function kindOf(schema: Schema): Field["kind"] {
  const { type, items } = schema;
  if (type === "integer" || type === "number" || type === "boolean") return type;
  if (type === "string") return "text";
  const ofNumbers = isObject(items) && (items.type === "number" || items.type === "integer");
  return type === "array" && ofNumbers ? "numbers" : "json";
}

/**
 * What a setting is worth that was typed like this.
 *
 * @returns undefined where it is left out, so that the model's default holds.
 */
export function readField(
  field: Field,
  text: string,
): { value: unknown } | FieldProblem | undefined {
  const typed = text.trim();
  if (typed === "") return field.required ? { problem: "required" } : undefined;
  switch (field.kind) {
    case "boolean":
      return { value: typed === "true" };
    case "choice":
      return { value: field.options.find((option) => optionText(option) === text) };
    case "text":
      return { value: text };
    case "json":
      return readJson(typed);
    case "numbers": {
      const values = typed.split(/[\s,;[\]]+/).filter((word) => word !== "");
      const numbers = values.map(toNumber);
      return numbers.includes(null) ? { problem: "numbers" } : { value: numbers };
    }
    case "integer":
    case "number":
      return readNumber(field, typed);
  }
}

function readNumber(field: Field, text: string): { value: number } | FieldProblem {
  const value = toNumber(text);
  if (value === null) return { problem: "number" };
  if (field.kind === "integer" && !Number.isInteger(value)) return { problem: "integer" };
  const { min, max, minExcluded, maxExcluded } = field;
  if (min !== null && (minExcluded ? value <= min : value < min))
    return { problem: minExcluded ? "above" : "atLeast", bound: min };
  if (max !== null && (maxExcluded ? value >= max : value > max))
    return { problem: maxExcluded ? "below" : "atMost", bound: max };
  return { value };
}

/** A JSON text's value. */
export function readJson(text: string): { value: unknown } | { problem: "json" } {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return { problem: "json" };
  }
}

/** A setting's value as it is typed: the other way of `readField`. */
export function typedAs(field: Field, value: unknown): string {
  if (value === undefined || value === null) return "";
  if (field.kind === "choice") return optionText(value);
  if (field.kind === "numbers" && Array.isArray(value)) return value.join(", ");
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A choice's name in the form. */
export function optionText(option: unknown): string {
  return typeof option === "string" ? option : JSON.stringify(option);
}

function pick(schema: Schema, keys: readonly string[]): Schema {
  return Object.fromEntries(
    keys.filter((key) => schema[key] !== undefined).map((key) => [key, schema[key]]),
  );
}
