import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { renderPart } from "@/test/render";
import { Chart } from "./Chart";

const series = [
  { label: "one", values: [3, null, 1] },
  { label: "two", values: [null, null, null] },
];
const format = (value: number) => `${value} s`;

test("a screen reader gets the last, lowest and highest value of each series", async () => {
  await renderPart(<Chart title="Waits" x={[10, 20, 30]} series={series} format={format} />);
  const table = screen.getByRole("table", { name: /^Waits/ });
  const rows = within(table).getAllByRole("row").slice(1);
  const texts = rows.map((row) => [...row.children].map((cell) => cell.textContent));
  expect(texts).toEqual([
    ["one", "1 s", "1 s", "3 s"],
    ["two", "–", "–", "–"],
  ]);
});

test("a series is hidden and shown by its key in the legend", async () => {
  await renderPart(<Chart title="Waits" x={[10, 20, 30]} series={series} format={format} />);
  const key = screen.getByRole("button", { name: /one/, pressed: true });
  await userEvent.click(key);
  expect(key).toHaveAttribute("aria-pressed", "false");
});

test("without data it says so", async () => {
  await renderPart(<Chart title="Waits" x={[]} series={[]} format={format} />);
  expect(screen.getByText("No data yet")).toBeInTheDocument();
});
