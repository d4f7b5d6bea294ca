import { useSyncExternalStore } from "react";

/** One timer for all that shows how long ago something was. */
const TICK_MS = 1000;
const watchers = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
let now = Date.now();

function watch(changed: () => void): () => void {
  watchers.add(changed);
  if (timer === undefined) {
    now = Date.now();
    timer = setInterval(() => {
      now = Date.now();
      for (const each of watchers) each();
    }, TICK_MS);
  }
  return () => {
    watchers.delete(changed);
    if (watchers.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** The time in ms since 1970, anew every second. */
export function useNow(): number {
  return useSyncExternalStore(watch, () => now);
}
