/** A value in a text that is not a number. */
export interface BadValue {
  /** Which one, counted from 1. */
  position: number;
  text: string;
}

export interface Numbers {
  values: number[];
  bad: BadValue[];
}

/** Anything that people and programs put between numbers. */
const SEPARATORS = /[\s,;|[\](){}]+/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** The numbers of a text, separated by commas, semicolons, blanks, lines or as a JSON array. The point is the decimal mark. */
export function parseNumbers(text: string): Numbers {
  const values: number[] = [];
  const bad: BadValue[] = [];
  const words = text.split(SEPARATORS).filter((word) => word !== "");
  for (const [index, word] of words.entries()) {
    const value = toNumber(word);
    if (value === null) bad.push({ position: index + 1, text: word });
    else values.push(value);
  }
  return { values, bad };
}

/** A finite number in decimal notation; null: it is something else. */
export function toNumber(text: string): number | null {
  const value = NUMBER.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? value : null;
}

/** How a series is written for `parseNumbers`, and for people. */
export function writeNumbers(values: readonly number[]): string {
  return values.join(", ");
}
