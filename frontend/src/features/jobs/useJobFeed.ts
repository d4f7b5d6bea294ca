import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { listJobs } from "@/api/jobs";
import { useFallbackInterval, useLive, useLiveState } from "@/api/live-hooks";
import { JobFeed } from "./feed";
import { filterOf, type JobsSearch } from "./search";

/** The list of the jobs that are searched for, kept fresh; who comes back to it finds it as it was left. */
export function useJobFeed(search: JobsSearch) {
  const queries = useQueryClient();
  const key = JSON.stringify(search);
  const feed = useMemo(() => {
    // Not under ["jobs", "list"]: that is read again whole with every change.
    const place = ["jobs", "feed", key];
    const known = queries.getQueryData<JobFeed>(place);
    if (known) return known;
    const filter = filterOf(JSON.parse(key) as JobsSearch);
    const made = new JobFeed(filter, (limit, cursor, signal) =>
      listJobs(filter, limit, cursor, signal),
    );
    queries.setQueryData(place, made);
    return made;
  }, [queries, key]);

  useEffect(() => {
    feed.start();
    return () => feed.stop();
  }, [feed]);

  useLive({ changes: true }, (message) => {
    if (message.type === "changes") feed.take(message.steps, message.more);
    if (message.type === "gap") feed.refresh();
  });

  const { status } = useLiveState();
  const wasLost = useRef(false);
  useEffect(() => {
    if (status === "waiting") wasLost.current = true;
    if (status !== "open" || !wasLost.current) return;
    wasLost.current = false;
    feed.refresh();
  }, [status, feed]);

  const interval = useFallbackInterval();
  useEffect(() => {
    if (interval === false) return;
    const timer = setInterval(() => feed.refresh(), interval);
    return () => clearInterval(timer);
  }, [feed, interval]);

  return { feed, ...useSyncExternalStore(feed.watch, feed.state) };
}
