import { act, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, expect, test, vi } from "vitest";
import { LiveSocket, type Socket } from "@/api/live";
import { newQueryClient } from "@/api/queries";
import { newI18n } from "@/i18n/setup";
import { silentSocket } from "@/test/render";
import { App } from "./App";
import { newRouter } from "./router";

beforeEach(() => {
  window.location.hash = "#/models";
  localStorage.clear();
  vi.stubGlobal("scrollTo", () => {});
  fetched.mockClear();
  vi.stubGlobal("fetch", fetched);
});

/** The API, which has nothing to say. */
const fetched = vi.fn(async () => Response.json({ code: "gone", detail: "" }, { status: 404 }));

async function renderApp() {
  const sockets: Socket[] = [];
  const live = new LiveSocket(() => {
    const socket = silentSocket();
    sockets.push(socket);
    return socket;
  });
  live.start();
  const i18n = await newI18n("en");
  render(<App i18n={i18n} live={live} queries={newQueryClient()} router={newRouter()} />);
  await screen.findByRole("heading", { level: 1, name: "Models" });
  return { live, sockets };
}

test("g and a letter go to a place, but not while something is typed", async () => {
  await renderApp();
  await userEvent.keyboard("gj");
  expect(await screen.findByRole("heading", { level: 1, name: "Jobs" })).toBeVisible();
  expect(window.location.hash).toMatch(/^#\/jobs/);
  expect(screen.getByRole("link", { name: "Jobs" })).toHaveAttribute("aria-current", "page");

  const input = document.body.appendChild(document.createElement("input"));
  await userEvent.type(input, "gm");
  input.remove();
  expect(window.location.hash).toMatch(/^#\/jobs/);
});

test("/ focuses what is marked as the search, ? shows the shortcuts", async () => {
  await renderApp();
  const search = document.body.appendChild(document.createElement("input"));
  search.dataset.search = "";
  await userEvent.keyboard("/");
  expect(search).toHaveFocus();
  search.remove();
  await userEvent.keyboard("?");
  expect(await screen.findByRole("dialog", { name: "Keyboard shortcuts" })).toBeInTheDocument();
});

test("the language changes at once, and is remembered", async () => {
  await renderApp();
  await userEvent.click(screen.getByRole("button", { name: "Language" }));
  await userEvent.click(await screen.findByRole("menuitem", { name: "한국어" }));
  expect(await screen.findByRole("heading", { level: 1, name: "모델" })).toBeVisible();
  expect(document.documentElement.lang).toBe("ko");
  expect(localStorage.getItem("satellite-language")).toBe("ko");
});

test("a connection that stays lost is told of, and what is shown is read again when it is back", async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true });
  try {
    const down = /The live connection is down\./;
    const { live, sockets } = await renderApp();
    const socket = sockets[0] as WebSocket;
    act(() => socket.onopen?.(new Event("open")));
    expect(screen.getByRole("status", { name: "Connection: Live" })).toBeInTheDocument();
    act(() => socket.onclose?.(new CloseEvent("close", { code: 1006 })));
    expect(screen.queryByText(down)).toBeNull();
    await act(() => vi.advanceTimersByTimeAsync(4_000));
    expect(screen.getByText(down).closest('[role="alert"]')).toBeVisible();

    const before = fetched.mock.calls.length;
    act(() => live.hurry());
    act(() => (sockets.at(-1) as WebSocket).onopen?.(new Event("open")));
    expect(screen.queryByText(down)).toBeNull();
    await vi.waitFor(() => expect(fetched.mock.calls.length).toBeGreaterThan(before));
  } finally {
    vi.useRealTimers();
  }
});
