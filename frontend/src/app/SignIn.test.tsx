import { act, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, expect, test, vi } from "vitest";
import { LiveSocket, type Socket } from "@/api/live";
import { newQueryClient } from "@/api/queries";
import { session } from "@/api/session";
import { newI18n } from "@/i18n/setup";
import { keysOn, silentSocket } from "@/test/render";
import { App } from "./App";
import { newRouter } from "./router";

const KEY = "sat_k1_right";
const OTHER = "sat_k2_right";

/** The keys that the API takes, and what it says of others. */
let valid: Set<string>;
let refusal: string;
let sentKeys: (string | null)[];

/** An API that asks for keys. */
async function api(request: Request): Promise<Response> {
  const key = request.headers.get("Authorization")?.replace(/^Bearer /, "") ?? null;
  sentKeys.push(key);
  if (key === null || !valid.has(key)) {
    const problem = { code: "unauthenticated", title: "No", detail: refusal };
    return Response.json(problem, { status: 401 });
  }
  if (request.url.endsWith("/me")) {
    return Response.json({ ...keysOn, key_name: key === KEY ? "wall screen" : "laptop" });
  }
  if (request.url.endsWith("/models")) return Response.json({ models: [] });
  return Response.json({ code: "gone", detail: "" }, { status: 404 });
}

beforeEach(() => {
  valid = new Set([KEY, OTHER]);
  refusal = "this key is not known";
  sentKeys = [];
  window.location.hash = "#/models";
  localStorage.clear();
  sessionStorage.clear();
  session.signIn(null, false);
  vi.stubGlobal("scrollTo", () => {});
  vi.stubGlobal("fetch", api);
});

async function open() {
  const sockets: Socket[] = [];
  const live = new LiveSocket(() => {
    const socket = silentSocket();
    sockets.push(socket);
    return socket;
  });
  const i18n = await newI18n("en");
  render(<App i18n={i18n} live={live} queries={newQueryClient()} router={newRouter()} />);
  return { live, sockets };
}

const field = () => screen.findByLabelText("API key");
const models = () => screen.findByRole("heading", { level: 1, name: "Models" });

async function signIn(key: string, { keep = false } = {}) {
  await userEvent.clear(await field());
  await userEvent.click(await field());
  await userEvent.paste(key);
  if (keep) await userEvent.click(screen.getByRole("checkbox", { name: "Keep me signed in" }));
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
}

test("who has no key is asked for one, and comes to where they wanted", async () => {
  const { sockets } = await open();
  expect(await field()).toHaveFocus();
  expect(screen.queryByRole("alert")).toBeNull();
  expect(screen.queryByRole("navigation")).toBeNull();

  await signIn("sat_k1_wrong");
  expect(await screen.findByText("this key is not known")).toBeVisible();
  await signIn("ключ");
  expect(await screen.findByText(/characters that no key has/)).toBeVisible();
  expect(session.state().key).toBeNull();

  const before = sockets.length;
  await signIn(`  ${KEY} `);
  expect(await models()).toBeVisible();
  expect(window.location.hash).toBe("#/models");
  expect(sockets.length).toBe(before + 1);
  expect(sessionStorage.getItem("satellite-key")).toBe(KEY);
  expect(localStorage.getItem("satellite-key")).toBeNull();
});

test("the header tells whose key it is, and the way out", async () => {
  session.signIn(KEY, false);
  await open();
  await userEvent.click(await screen.findByRole("button", { name: "API key: wall screen · acme" }));
  expect(await screen.findByText(/Allows: read/)).toBeInTheDocument();
  // Without a layout the menu believes that its button is out of sight.
  const out = await screen.findByRole("menuitem", { name: "Sign out", hidden: true });
  await userEvent.click(out);
  expect(await field()).toBeVisible();
  expect(screen.queryByRole("alert")).toBeNull();
  expect(sessionStorage.getItem("satellite-key")).toBeNull();

  // Nothing of the one before is left for the next.
  await signIn(OTHER, { keep: true });
  expect(await screen.findByRole("button", { name: "API key: laptop · acme" })).toBeVisible();
  expect(localStorage.getItem("satellite-key")).toBe(OTHER);
});

test("a key that is no longer taken ends the session, and the reason is told", async () => {
  session.signIn(KEY, true);
  const { live } = await open();
  await models();
  valid.delete(KEY);
  refusal = "this key was revoked";
  const stop = vi.spyOn(live, "stop");
  await userEvent.keyboard("gd");
  expect(await screen.findByRole("alert")).toHaveTextContent("this key was revoked");
  expect(stop).toHaveBeenCalled();
  expect(localStorage.getItem("satellite-key")).toBeNull();
  await signIn(OTHER);
  expect(await screen.findByRole("heading", { level: 1, name: "Dead letters" })).toBeVisible();
});

test("a 401 that is not the API's own, or of a former key, ends nothing", async () => {
  session.signIn(KEY, false);
  vi.stubGlobal("fetch", async () => new Response("who are you?", { status: 401 }));
  await open();
  await models();
  act(() => session.refused("sat_k0_former", "this key was revoked"));
  expect(session.state()).toEqual({ key: KEY, asked: null });
  expect(await models()).toBeVisible();
});

test("who signs out in another tab signs out here, if it was with the same key", async () => {
  session.signIn(KEY, true);
  const gone = (oldValue: string) =>
    new StorageEvent("storage", { key: "satellite-key", oldValue, newValue: null });
  session.changedElsewhere(gone(OTHER));
  expect(session.state().key).toBe(KEY);
  session.changedElsewhere(gone(KEY));
  expect(session.state()).toEqual({ key: null, asked: { refusal: null } });
});
