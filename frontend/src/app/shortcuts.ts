import { useNavigate } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { PLACES } from "./places";

/** How long after `g` the second key counts. */
const SEQUENCE_MS = 1500;

/** What `/` focuses: the search of the route that is shown. */
const SEARCH = "[data-search]";

/** Keys that work wherever nothing is typed: g and a letter, `/`, `?`. */
export function useShortcuts(showHelp: () => void): void {
  const navigate = useNavigate();
  const latest = useRef({ navigate, showHelp });
  useEffect(() => {
    latest.current = { navigate, showHelp };
  });

  useEffect(() => {
    let wentAt = Number.NEGATIVE_INFINITY;
    function onKey(event: KeyboardEvent) {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      if (isTyping(event.target) || document.querySelector('[role="dialog"]')) return;
      const follows = event.timeStamp - wentAt < SEQUENCE_MS;
      wentAt = Number.NEGATIVE_INFINITY;
      const place = follows ? PLACES.find(({ key }) => key === event.key) : undefined;
      if (place) {
        event.preventDefault();
        void latest.current.navigate({ to: place.to });
      } else if (event.key === "g") {
        wentAt = event.timeStamp;
      } else if (event.key === "/") {
        const search = document.querySelector<HTMLElement>(SEARCH);
        if (!search) return;
        event.preventDefault();
        search.focus();
      } else if (event.key === "?") {
        event.preventDefault();
        latest.current.showHelp();
      }
    }
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}
