import type { Replay, ReplayRequest, Replays } from "@/api/jobs";

/** How many jobs are repeated in one transaction. */
export const PAGE = 100;

export interface Progress {
  /** How many there were at first. */
  readonly total: number;
  /** The jobs that were repeated, and as which. */
  readonly replayed: readonly { parent_id: string; job_id: string }[];
  /** The jobs that were not, and why; null: they are dead letters no more, somebody has repeated them before. */
  readonly problems: readonly { parent_id: string; detail: string | null }[];
  /** Why it ended before its time. */
  readonly error: Error | null;
  readonly over: boolean;
}

/** What is to be repeated: these jobs, or all of a group. */
export type Wanted =
  | { job_ids: readonly string[] }
  | { model_name: string; error_code: string; count: number };

/**
 * Repeat dead jobs, a page at a time, until none is left, one page brings nothing, or it is told to stop.
 *
 * A page that has been sent is waited for, even when it is told to stop: what became of its jobs must be known.
 */
export async function replayAll(
  wanted: Wanted,
  send: (request: ReplayRequest) => Promise<Replays>,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<void> {
  const replayed = new Map<string, string>();
  const problems = new Map<string, string | null>();
  let total = "count" in wanted ? wanted.count : wanted.job_ids.length;
  const tell = (end: { error?: Error; over: boolean }) =>
    onProgress({
      total: Math.max(total, replayed.size + problems.size),
      replayed: [...replayed].map(([parent_id, job_id]) => ({ parent_id, job_id })),
      problems: [...problems].map(([parent_id, detail]) => ({ parent_id, detail })),
      error: end.error ?? null,
      over: end.over,
    });
  const note = ({ parent_id, job_id, problem }: Replay) => {
    if (job_id) replayed.set(parent_id, job_id);
    else problems.set(parent_id, problem?.detail ?? "");
  };

  tell({ over: false });
  try {
    for (let sent = 0; !signal.aborted; sent += PAGE) {
      const request = pageOf(wanted, sent);
      if (request === null) break;
      const answer = await send(request);
      answer.items.forEach(note);
      for (const id of "job_ids" in request ? request.job_ids : []) {
        if (!replayed.has(id) && !problems.has(id)) problems.set(id, null);
      }
      if ("count" in wanted) {
        // Some may have died since, others may have been repeated by somebody else.
        total = replayed.size + Math.max(answer.remaining, problems.size);
        if (answer.replayed === 0 || answer.remaining === 0) break;
      }
      tell({ over: false });
    }
    tell({ over: true });
  } catch (error) {
    tell({ error: error instanceof Error ? error : new Error(String(error)), over: true });
  }
}

function pageOf(wanted: Wanted, sent: number): ReplayRequest | null {
  if ("count" in wanted) {
    const { model_name, error_code } = wanted;
    return { model_name, error_code, limit: PAGE };
  }
  const job_ids = wanted.job_ids.slice(sent, sent + PAGE);
  return job_ids.length > 0 ? { job_ids } : null;
}
