export type Metrics = Readonly<Record<string, unknown>>;

export interface ScoreTable {
  title: string;
  columns: string[];
  rows: { name: string; values: (number | null)[] }[];
}

/** Scores as a reader wants them; nobody has fixed what a version's metrics look like. */
export interface Scores {
  /** Those that stand alone. */
  single: [name: string, value: number][];
  /** Those with a name of two or more parts: the last is the column. */
  tables: ScoreTable[];
  /** What is no number at all; null: nothing. */
  rest: Metrics | null;
}

export function scoresOf(metrics: Metrics): Scores {
  const found = Object.entries(metrics);
  const single = found.filter((entry): entry is [string, number] => typeof entry[1] === "number");
  const rows: [string, Metrics][] = [];
  const groups: [string, Metrics][] = [];
  const rest: Record<string, unknown> = {};
  for (const [name, value] of found) {
    if (typeof value === "number") continue;
    if (isRow(value)) rows.push([name, value]);
    else if (isObject(value) && Object.values(value).every(isRow)) groups.push([name, value]);
    else rest[name] = value;
  }
  const tables = groups.map(([title, group]) => table(title, Object.entries(group)));
  if (rows.length > 0) tables.unshift(table("", rows));
  return { single, tables, rest: Object.keys(rest).length > 0 ? rest : null };
}

function table(title: string, rows: readonly [string, unknown][]): ScoreTable {
  const named = rows.map(([name, row]) => ({ name, scores: isObject(row) ? row : {} }));
  const columns = [...new Set(named.flatMap(({ scores }) => Object.keys(scores)))];
  return {
    title,
    columns,
    rows: named.map(({ name, scores }) => ({
      name,
      values: columns.map((column) => {
        const value = scores[column];
        return typeof value === "number" ? value : null;
      }),
    })),
  };
}

function isRow(value: unknown): value is Metrics {
  if (!isObject(value)) return false;
  const scores = Object.values(value);
  return scores.length > 0 && scores.every((score) => typeof score === "number");
}

function isObject(value: unknown): value is Metrics {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
