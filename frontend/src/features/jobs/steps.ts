import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { jobKey } from "@/api/jobs";
import type { JobMessage } from "@/api/live";
import { useLive } from "@/api/live-hooks";

export type JobStep = Pick<JobMessage, "id" | "status" | "attempt" | "at">;

/** The step among those that are known, each once, in the order of the job's life (ids are `attempt.rank`). */
export function withStep(known: readonly JobStep[], step: JobStep): readonly JobStep[] {
  if (known.some(({ id }) => id === step.id)) return known;
  const { id, status, attempt, at } = step;
  return [...known, { id, status, attempt, at }].sort((a, b) => order(a.id, b.id));
}

function order(one: string, other: string): number {
  const [attempt = 0, rank = 0] = one.split(".").map(Number);
  const [otherAttempt = 0, otherRank = 0] = other.split(".").map(Number);
  return attempt - otherAttempt || rank - otherRank;
}

/** Every step of a job, as it comes; what is known of the job is read again with each. */
export function useSteps(id: string): readonly JobStep[] {
  const queries = useQueryClient();
  const [steps, setSteps] = useState<readonly JobStep[]>([]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another job has other steps.
  useEffect(() => setSteps([]), [id]);
  useLive({ job_id: id }, (message) => {
    if (message.type !== "job") return;
    setSteps((known) => withStep(known, message));
    void queries.invalidateQueries({ queryKey: jobKey(id) });
  });
  return steps;
}
