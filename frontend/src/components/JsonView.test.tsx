import { screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { renderPart } from "@/test/render";
import { formatJson, JsonView } from "./JsonView";

test("arrays of numbers stay on one line, everything else is indented", () => {
  expect(formatJson({ a: [1, 2, null], b: { c: [] }, d: [{ e: "f" }] })).toBe(
    '{\n  "a": [1, 2, null],\n  "b": {\n    "c": []\n  },\n  "d": [\n    {\n      "e": "f"\n    }\n  ]\n}',
  );
});

test("a long value is cut until it is asked for", async () => {
  const value = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`key${n}`, n]));
  await renderPart(<JsonView value={value} lines={10} />);
  expect(screen.queryByText(/"key49"/)).toBeNull();
  screen.getByRole("button", { name: "Show all 52 lines" }).click();
  expect(await screen.findByText(/"key49": 49/)).toBeVisible();
});
