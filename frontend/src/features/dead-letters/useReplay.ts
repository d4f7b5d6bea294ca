import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { deadLettersKey } from "@/api/dead-letters";
import { replay } from "@/api/jobs";
import { type Progress, replayAll, type Wanted } from "./replay";

/** One replay at a time, and how it goes on; it ends with the component. */
export function useReplay() {
  const queries = useQueryClient();
  const [progress, setProgress] = useState<Progress | null>(null);
  const abort = useRef<AbortController | null>(null);
  const stop = () => abort.current?.abort();
  useEffect(() => () => abort.current?.abort(), []);

  async function begin(wanted: Wanted) {
    stop();
    const controller = new AbortController();
    abort.current = controller;
    const tell = (progress: Progress) => {
      if (abort.current === controller) setProgress(progress);
    };
    await replayAll(wanted, replay, tell, controller.signal);
    await queries.invalidateQueries({ queryKey: deadLettersKey });
  }

  return { progress, begin, stop, close: () => setProgress(null) };
}
