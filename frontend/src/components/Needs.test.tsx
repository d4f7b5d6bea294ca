import { Button } from "@mantine/core";
import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import { keysOff, keysOn, renderPart } from "@/test/render";
import { Needs } from "./Needs";

async function click(me: typeof keysOn) {
  const [clicked, submitted] = [vi.fn(), vi.fn((event: Event) => event.preventDefault())];
  document.addEventListener("submit", submitted, { once: true });
  await renderPart(
    <form>
      <Needs scope="submit">
        <Button type="submit" onClick={clicked}>
          Go
        </Button>
      </Needs>
    </form>,
    { me },
  );
  await userEvent.click(screen.getByRole("button", { name: "Go" }));
  document.removeEventListener("submit", submitted);
  return [clicked.mock.calls.length, submitted.mock.calls.length];
}

test("a button that the key does not allow does nothing, and says why", async () => {
  expect(await click(keysOn)).toEqual([0, 0]);
  const button = screen.getByRole("button", { name: "Go" });
  expect(button).toHaveAttribute("aria-disabled", "true");
  expect(button).toHaveFocus();
  expect(await screen.findByRole("tooltip")).toHaveTextContent(/lacks the scope submit/);
});

test("one that it allows is as it was", async () => {
  expect(await click(keysOff)).toEqual([1, 1]);
  expect(screen.getByRole("button", { name: "Go" })).not.toHaveAttribute("aria-disabled");
});
