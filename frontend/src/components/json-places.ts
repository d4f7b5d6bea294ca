/** A text ceases to be JSON. */
export class NotJson extends Error {
  override readonly name = "NotJson";

  /** @param offset - where it does. */
  constructor(readonly offset: number) {
    super(`not JSON from offset ${offset} on`);
  }
}

const SPACE = /[ \t\n\r]*/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them in strings.
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const PLAIN = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/**
 * Where each value of a JSON text stands.
 *
 * @returns for every value's JSON pointer (RFC 6901; "" is the whole) the offset at which it begins.
 * @throws NotJson - browsers tell where in words of their own, or not at all.
 */
export function placesOf(text: string): Map<string, number> {
  const places = new Map<string, number>();
  let at = 0;

  const take = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found === undefined) throw new NotJson(at);
    at += found.length;
    return found;
  };
  const next = (): string | undefined => {
    take(SPACE);
    return text[at];
  };
  const expect = (...wanted: string[]): string => {
    const found = next();
    if (found === undefined || !wanted.includes(found)) throw new NotJson(at);
    at += 1;
    return found;
  };

  const value = (pointer: string): void => {
    const open = next();
    places.set(pointer, at);
    if (open === '"') take(STRING);
    else if (open === "{") members("}", pointer);
    else if (open === "[") members("]", pointer);
    else take(PLAIN);
  };

  const members = (close: string, pointer: string): void => {
    at += 1;
    if (next() === close) {
      at += 1;
      return;
    }
    for (let index = 0; ; index += 1) {
      let name = String(index);
      if (close === "}") {
        next();
        name = JSON.parse(take(STRING)) as string;
        expect(":");
      }
      value(`${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`);
      if (expect(",", close) === close) return;
    }
  };

  value("");
  if (next() !== undefined) throw new NotJson(at);
  return places;
}

/** The place of a pointer, or of the nearest thing around it: what is missing has no place of its own. */
export function placeOf(places: ReadonlyMap<string, number>, pointer: string): number {
  for (let path = pointer; path !== ""; path = path.slice(0, path.lastIndexOf("/"))) {
    const place = places.get(path);
    if (place !== undefined) return place;
  }
  return 0;
}

/** The line, from 1, of an offset. */
export function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}
