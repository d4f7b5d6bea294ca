/** A JSON Schema, as far as models have them. */
export type Schema = Readonly<Record<string, unknown>>;

/** The schema itself, of `anyOf` with null the other one, and of a reference what it means. */
export function narrowed(schema: Schema, root: Schema): Schema {
  if (typeof schema.$ref === "string") {
    const found = schema.$ref
      .replace(/^#\//, "")
      .split("/")
      .reduce<unknown>((at, key) => (isObject(at) ? at[key] : undefined), root);
    return isObject(found) ? narrowed(found, root) : {};
  }
  if ("const" in schema) return { ...schema, enum: [schema.const] };
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((type) => type !== "null");
    return types.length === 1 ? { ...schema, type: types[0] } : schema;
  }
  const either = [schema.anyOf, schema.oneOf, schema.allOf].find(Array.isArray);
  if (!either) return schema;
  const others = either.filter((each) => isObject(each) && each.type !== "null");
  return others.length === 1 && isObject(others[0]) ? narrowed(others[0], root) : {};
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A schema's type as TypeScript would write it: `number[]`, `"ets" | "theta"`, `integer | null`. */
export function typeText(schema: Schema, root: Schema): string {
  const either = [schema.anyOf, schema.oneOf].find(Array.isArray);
  if (either) return either.map((each) => (isObject(each) ? typeText(each, root) : "")).join(" | ");
  if (Array.isArray(schema.type)) return schema.type.join(" | ");
  const meant = narrowed(schema, root);
  if (Array.isArray(meant.enum)) return meant.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (meant.type === "array") {
    const items = isObject(meant.items) ? typeText(meant.items, root) : "any";
    return items.includes(" ") ? `(${items})[]` : `${items}[]`;
  }
  if (isObject(meant.additionalProperties)) {
    return `{ [name]: ${typeText(meant.additionalProperties, root)} }`;
  }
  return typeof meant.type === "string" ? meant.type : "any";
}

/** What a value must keep to: `1 ≤ x ≤ 512`; null: nothing. */
export function boundsText(schema: Schema, root: Schema): string | null {
  const meant = narrowed(schema, root);
  const between = (
    low: string,
    lowExcluded: string,
    what: string,
    high: string,
    highExcluded: string,
  ) => {
    const above = meant[lowExcluded] ?? meant[low];
    const below = meant[highExcluded] ?? meant[high];
    if (above === undefined && below === undefined) return null;
    const left =
      above === undefined ? "" : `${above} ${meant[lowExcluded] === undefined ? "≤" : "<"} `;
    const right =
      below === undefined ? "" : ` ${meant[highExcluded] === undefined ? "≤" : "<"} ${below}`;
    return left + what + right;
  };
  const ofItems = isObject(meant.items) ? boundsText(meant.items, root) : null;
  const all = [
    between("minimum", "exclusiveMinimum", "x", "maximum", "exclusiveMaximum"),
    between("minItems", "", "n", "maxItems", ""),
    ofItems,
  ].filter((text) => text !== null);
  return all.length > 0 ? all.join(", ") : null;
}
