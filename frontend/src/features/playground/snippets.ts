import type { Call, Mode } from "@/api/inference";

/** The call for a shell; `keyHeader`: see `useKeyHeader`. */
export function asCurl(base: string, mode: Mode, call: Call, keyHeader: string | null): string {
  return [
    `curl -sS ${quoted(`${base}api/v1/inference/${mode}`)} \\`,
    ...(keyHeader === null ? [] : [`  ${keyHeader} \\`]),
    "  -H 'Content-Type: application/json' \\",
    `  -d ${quoted(JSON.stringify(call))}`,
  ].join("\n");
}

/** A word for a POSIX shell, in single quotes where it needs some. */
export function quoted(word: string): string {
  return /^[\w./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The call with the Python client. */
export function asPython(base: string, mode: Mode, call: Call): string {
  const { model_name, data, config = {}, ...options } = call;
  const named = Object.entries(config);
  const plain = named.filter(([name]) => isArgument(name)).map(([k, v]) => `${k}=${literal(v)}`);
  // What Python cannot name goes in a dictionary.
  const others = Object.fromEntries(named.filter(([name]) => !isArgument(name)));
  const given = Object.keys(options).length > 0;
  const args = [
    literal(model_name),
    literal(data),
    ...(given && mode === "submit" ? [`job=${literal(options)}`] : []),
    ...(mode === "predict" ? Object.entries(options).map(([k, v]) => `${k}=${literal(v)}`) : []),
    ...plain,
    ...(Object.keys(others).length > 0 ? [`**${literal(others)}`] : []),
  ];
  const asked = args.map((arg) => `        ${arg},\n`).join("");
  const ask = `client.${mode}(\n${asked}    )`;
  return [
    "import satellite",
    "",
    `with satellite.Client(${literal(base.replace(/\/$/, ""))}) as client:`,
    ...(mode === "predict"
      ? [`    result = ${ask}`]
      : [`    job = ${ask}`, "    result = client.result(job)"]),
    "    print(result.output)",
    "",
  ].join("\n");
}

const KEYWORDS = new Set(
  (
    "False None True and as assert async await break class continue def del elif else except finally for from " +
    "global if import in is lambda nonlocal not or pass raise return try while with yield"
  ).split(" "),
);

function isArgument(name: string): boolean {
  return /^[A-Za-z_]\w*$/.test(name) && !KEYWORDS.has(name);
}

/** A JSON value as Python writes it. */
export function literal(value: unknown): string {
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null || value === undefined) return "None";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") {
    const entries = Object.entries(value).map(([key, each]) => `${literal(key)}: ${literal(each)}`);
    return `{${entries.join(", ")}}`;
  }
  return JSON.stringify(value);
}
