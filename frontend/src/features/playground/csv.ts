import { toNumber } from "./numbers";

export interface Column {
  name: string;
  values: number[];
  /** The first cell that is no number: its row in the file, counted from 1, and what is in it. */
  bad: { row: number; text: string } | null;
}

/** The columns of a CSV file; any delimiter. */
export async function parseCsv(text: string): Promise<Column[]> {
  // Only who uploads a file needs the parser.
  const { default: Papa } = await import("papaparse");
  const { data: rows } = Papa.parse<string[]>(text.replace(/^\uFEFF/, ""), {
    skipEmptyLines: false,
  });
  // Rows are numbered as in the file, so empty lines are kept until here.
  const filled = rows
    .map((cells, index) => ({ cells: cells.map((cell) => cell.trim()), row: index + 1 }))
    .filter(({ cells }) => cells.some((cell) => cell !== ""));
  const width = Math.max(0, ...filled.map(({ cells }) => cells.length));
  const headed = hasHeader(filled.map(({ cells }) => cells));
  const names = headed ? filled[0]?.cells : undefined;
  const body = headed ? filled.slice(1) : filled;
  return Array.from({ length: width }, (_, at) => {
    const values: number[] = [];
    let bad: Column["bad"] = null;
    for (const { cells, row } of body) {
      const cell = cells[at] ?? "";
      const value = toNumber(cell);
      if (value === null) bad ??= { row, text: cell };
      else values.push(value);
    }
    return { name: names?.[at] || `#${at + 1}`, values, bad };
  });
}

/** Whether the first row names the columns: it has no number where a row below has one. */
function hasHeader(rows: readonly string[][]): boolean {
  const [first, ...below] = rows;
  if (!first || below.length === 0) return false;
  const isNumber = (cell: string | undefined) => cell !== undefined && toNumber(cell) !== null;
  if (first.some(isNumber)) return false;
  return below.some((cells) => cells.some(isNumber));
}

/** The columns that make a series, best first: whole ones before those with holes. */
export function usable(columns: readonly Column[]): Column[] {
  return columns.filter(({ bad, values }) => bad === null && values.length > 0);
}
