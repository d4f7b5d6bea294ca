import { useCallback, useEffect, useRef, useState } from "react";
import { isTerminal, type JobStatus, listJobs, MAX_PAGE } from "@/api/jobs";
import { useFallbackInterval, useLive } from "@/api/live-hooks";

export type States = ReadonlyMap<string, JobStatus>;

/** So many pages are read at most to find out what was missed. */
const MAX_PAGES = 10;

/** What is known, with what is new; a job that has ended stays as it is. */
export function withStates(known: States, found: Iterable<readonly [string, JobStatus]>): States {
  const states = new Map(known);
  for (const [id, status] of found) {
    const before = states.get(id);
    if (before === undefined || !isTerminal(before)) states.set(id, status);
  }
  return states;
}

/** When a job was created, in ms since 1970: a UUIDv7 begins with it. */
export function createdAt(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/**
 * What becomes of new jobs of a model, live.
 *
 * @param ids - the jobs, oldest first.
 */
export function useStates(model: string, ids: readonly string[]): States {
  const [states, setStates] = useState<States>(new Map());
  const latest = useRef({ model, ids });
  useEffect(() => {
    latest.current = { model, ids };
  });

  const read = useCallback(async () => {
    const { model, ids } = latest.current;
    const oldest = [...ids].sort()[0];
    if (oldest === undefined) return;
    const created_after = new Date(createdAt(oldest)).toISOString();
    let cursor: string | null = null;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const answer = await listJobs({ model_name: model, created_after }, MAX_PAGE, cursor);
      setStates((known) =>
        withStates(
          known,
          answer.jobs.map(({ job_id, status }) => [job_id, status] as const),
        ),
      );
      cursor = answer.next_cursor;
      if (cursor === null) return;
    }
  }, []);
  // What cannot be read now is read with the next digest that says that there was more.
  const tryRead = useCallback(() => void read().catch(() => undefined), [read]);

  useLive({ changes: true }, (message) => {
    if (message.type === "gap") tryRead();
    if (message.type !== "changes") return;
    const { steps, more } = message;
    setStates((known) =>
      withStates(
        known,
        steps.map(({ job_id, status }) => [job_id, status] as const),
      ),
    );
    if (more) tryRead();
  });

  const interval = useFallbackInterval();
  // biome-ignore lint/correctness/useExhaustiveDependencies: with every page of jobs, and whenever the socket is back.
  useEffect(tryRead, [ids.length, interval]);
  useEffect(() => {
    if (interval === false) return;
    const timer = setInterval(tryRead, interval);
    return () => clearInterval(timer);
  }, [interval, tryRead]);
  return states;
}
