import { expect, test } from "vitest";
import english from "./en/all";
import korean from "./ko/all";

type Texts = { [key: string]: string | Texts };

/** `nav.label` → what is inserted into it. Plural forms count as one key: languages differ in how many they have. */
function keys(texts: Texts, prefix = ""): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [name, value] of Object.entries(texts)) {
    const key = prefix + name.replace(/_(zero|one|two|few|many|other)$/, "");
    if (typeof value === "string") {
      found.set(key, (value.match(/\{\{[^}]+\}\}/g) ?? []).sort());
    } else {
      for (const [below, inserted] of keys(value, `${key}.`)) found.set(below, inserted);
    }
  }
  return found;
}

test("both languages have the same texts, with the same insertions", () => {
  const [en, ko] = [keys(english), keys(korean)];
  expect([...ko.keys()].sort()).toEqual([...en.keys()].sort());
  for (const [key, inserted] of en) expect([key, ko.get(key)]).toEqual([key, inserted]);
});

test("no text is empty", () => {
  for (const texts of [english, korean]) expect(JSON.stringify(texts)).not.toContain('""');
});
