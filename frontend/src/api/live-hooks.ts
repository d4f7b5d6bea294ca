import { useQueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useRef, useSyncExternalStore } from "react";
import { client, pageUrl } from "./client";
import { keyOf, type Listener, LiveSocket, type LiveState, type Target } from "./live";
import { FALLBACK_INTERVAL_MS } from "./queries";
import { session } from "./session";

/** The page's socket, not yet started. */
export function newLiveSocket(): LiveSocket {
  const url = pageUrl("api/v1/ws");
  url.protocol = url.protocol.replace("http", "ws");
  return new LiveSocket(() => new WebSocket(url), undefined, undefined, {
    key: () => session.state().key,
    // Asked by HTTP, the API says why, and that ends the session.
    refused: () => void client.GET("/api/v1/me").catch(() => {}),
  });
}

const LiveContext = createContext<LiveSocket | null>(null);
export const LiveProvider = LiveContext.Provider;

export function useLiveSocket(): LiveSocket {
  const socket = useContext(LiveContext);
  if (!socket) throw new Error("there is no LiveProvider around this component");
  return socket;
}

/** How the connection is. */
export function useLiveState(): LiveState {
  const socket = useLiveSocket();
  return useSyncExternalStore(socket.watch, socket.state);
}

/** For `refetchInterval`: nothing is polled while the socket is up. */
export function useFallbackInterval(): number | false {
  return useLiveState().status === "open" ? false : FALLBACK_INTERVAL_MS;
}

/** Listen to a target while the component is shown; null: to nothing. */
export function useLive(target: Target | null, listener: Listener): void {
  const socket = useLiveSocket();
  const latest = useRef({ target, listener });
  useEffect(() => {
    latest.current = { target, listener };
  });
  const key = target && keyOf(target);
  useEffect(() => {
    const { target } = latest.current;
    if (key === null || target === null) return;
    return socket.subscribe(target, (message) => latest.current.listener(message));
  }, [socket, key]);
}

/**
 * Keep the query cache as fresh as the socket tells: once for the whole page.
 *
 * Queries of jobs have keys that begin with `["jobs"]` (`["jobs", "one", id, ...]` for one of them) or
 * `["dead-letters"]`.
 */
export function useLiveCache(): void {
  const queries = useQueryClient();
  const { status } = useLiveState();
  const wasLost = useRef(false);

  useEffect(() => {
    if (status === "waiting") wasLost.current = true;
    if (status !== "open" || !wasLost.current) return;
    wasLost.current = false;
    void queries.invalidateQueries();
  }, [status, queries]);

  useLive({ changes: true }, (message) => {
    if (message.type === "gap") void queries.invalidateQueries();
    if (message.type !== "changes") return;
    void queries.invalidateQueries({ queryKey: ["jobs", "list"] });
    if (message.more) void queries.invalidateQueries({ queryKey: ["jobs", "one"] });
    let died = message.more;
    for (const step of message.steps) {
      void queries.invalidateQueries({ queryKey: ["jobs", "one", step.job_id] });
      died ||= step.status === "dead" || step.status === "queued";
    }
    if (died) void queries.invalidateQueries({ queryKey: ["dead-letters"] });
  });
}
