import { act, render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, expect, test, vi } from "vitest";
import type { Schemas } from "@/api/client";
import { LiveSocket, type Socket } from "@/api/live";
import { emptyHistory } from "@/api/overview";
import { newQueryClient } from "@/api/queries";
import { newI18n } from "@/i18n/setup";
import { keysOff, silentSocket } from "@/test/render";
import { App } from "./App";
import { newRouter } from "./router";

const NOON = Date.parse("2026-01-05T12:00:00Z");
const at = (seconds: number) => new Date(NOON + seconds * 1000).toISOString();

const cluster: Schemas["ClusterInfo"] = {
  nodes: [
    {
      node_id: "n1",
      address: "10.0.0.4",
      alive: true,
      head: true,
      cpu_percent: 41,
      cpus: 8,
      memory_used_bytes: 8 * 2 ** 30,
      memory_total_bytes: 32 * 2 ** 30,
      gpus: [],
    },
  ],
  replicas: [{ model_name: "first", replica_id: "r1", state: "RUNNING", node_id: "n1" }],
  ingresses: 2,
  dashboard_url: "http://127.0.0.1:8265",
};

function sample(seconds: number, waiting: number): Schemas["Sample"] {
  const model = {
    submitted: 6,
    succeeded: 6,
    failed: 0,
    predicted: 0,
    waiting,
    batches: 1,
    batch_size: 6,
    wait_p50_s: 0.5,
    wait_p95_s: 1.25,
    compute_p50_s: 0.004,
    compute_p95_s: 0.009,
    replicas: 1,
    oldest_s: null,
  };
  return { at: at(seconds), span_s: 2, models: { first: model, second: { ...model, waiting: 0 } } };
}

const quiet = emptyHistory(1);
const busy = { ...quiet, submitted: [300], succeeded: [290], failed: [10] };

function serve(first: Schemas["ModelHistory"]) {
  const overview: Schemas["Overview"] = {
    step_s: 10,
    complete: true,
    history: { at: [at(0)], models: { first, second: quiet } },
    now: sample(12, 7),
    cluster,
  };
  const example = { model_name: "second", data: [1, 2] };
  const models = { models: [{ name: "first", batching: { max_batch_size: 8 }, example }] };
  vi.stubGlobal("fetch", async (request: Request) => {
    if (request.url.endsWith("/me")) return Response.json(keysOff);
    return Response.json(request.url.endsWith("/overview") ? overview : models);
  });
}

async function open() {
  const socket = silentSocket();
  const live = new LiveSocket(() => socket);
  live.start();
  const i18n = await newI18n("en");
  render(<App i18n={i18n} live={live} queries={newQueryClient()} router={newRouter()} />);
  const table = await screen.findByRole("region", { name: "Models" });
  return { socket, table };
}

/** As the server would: the handlers of a WebSocket want to be called as its own. */
function say(socket: Socket, message: Schemas["WsOverview"]) {
  const event = new MessageEvent("message", { data: JSON.stringify(message) });
  act(() => (socket as WebSocket).onmessage?.(event));
}

beforeEach(() => {
  window.location.hash = "#/";
  vi.stubGlobal("scrollTo", () => {});
});

test("the hour is shown at once, and what comes live follows", async () => {
  serve(busy);
  const { socket, table } = await open();
  const cells = () =>
    [...within(table).getByRole("row", { name: /first/ }).children].map((cell) => cell.textContent);
  expect(cells()).toEqual(["first", "30/s", "29/s", "0/s", "7", "–", "–", "–", "–", "10", "1"]);

  act(() => (socket as WebSocket).onopen?.(new Event("open")));
  say(socket, { type: "overview", now: sample(14, 9), cluster, complete: true });
  await vi.waitFor(() => expect(cells()).toContain("6 / 8"));
  // 306 jobs in 12 s.
  expect(cells()).toEqual([
    "first",
    "25.5/s",
    "24.7/s",
    "0/s",
    "9",
    "–",
    "6 / 8",
    "500 ms / 1.25 s",
    "4 ms / 9 ms",
    "10",
    "1",
  ]);
});

test("a click on a model shows it alone, and the address says so", async () => {
  serve(busy);
  const { table } = await open();
  expect(screen.getByRole("figure", { name: "Waiting requests" })).toHaveTextContent("second");
  await userEvent.click(within(table).getByRole("button", { name: "first" }));
  await vi.waitFor(() => expect(window.location.hash).toBe("#/?model=first"));
  expect(screen.getByRole("figure", { name: "Waiting requests" })).not.toHaveTextContent("second");
  await userEvent.click(within(table).getByRole("button", { name: "first" }));
  await vi.waitFor(() => expect(window.location.hash).toBe("#/"));
});

test("replicas and nodes lead to their pages of the Ray dashboard", async () => {
  serve(busy);
  await open();
  expect(screen.getByRole("link", { name: "10.0.0.4" })).toHaveAttribute(
    "href",
    "http://127.0.0.1:8265/#/cluster/nodes/n1",
  );
  expect(screen.getByRole("link", { name: "r1" })).toHaveAttribute(
    "href",
    "http://127.0.0.1:8265/#/serve/applications/satellite/first/r1",
  );
});

test("without any job there is a command for the first one", async () => {
  serve(quiet);
  await open();
  expect(await screen.findByText(/curl -X POST/)).toHaveTextContent(
    `-d '{"model_name":"second","data":[1,2]}'`,
  );
});
