import { type JobFilter, type JobPage, type JobSummary, MAX_PAGE } from "@/api/jobs";
import type { ChangesMessage } from "@/api/live";

export const PAGE = 100;

export type FetchPage = (
  limit: number,
  cursor: string | null,
  signal: AbortSignal,
) => Promise<JobPage>;

export interface FeedState {
  /** Newest first. */
  readonly jobs: readonly JobSummary[];
  /** How many newer ones there are that are not among them yet. */
  readonly fresh: number;
  /** Whether there are more of these than were counted. */
  readonly freshMore: boolean;
  /** Whether the first page has been read. */
  readonly ready: boolean;
  /** Whether the oldest job is among them. */
  readonly complete: boolean;
  readonly loading: boolean;
  /** Why the last page could not be read. */
  readonly error: Error | null;
}

type Step = ChangesMessage["steps"][number];

/**
 * A list of jobs that is read page by page from its newest end, and follows what changes.
 *
 * A digest of changes says which job came to which status, and no more. So a row takes its new status at once, and is
 * *stale*: what else has changed (times, attempts, whether it still fits the filter) is read again in one request for
 * all stale rows that are seen. Rows out of sight are read when they come into sight. Ids are UUIDv7: their order is
 * that of the list, and every page covers one stretch of it.
 */
export class JobFeed {
  /** Where the list was scrolled to: it is shown there again. */
  offset = 0;

  #state: FeedState = {
    jobs: [],
    fresh: 0,
    freshMore: false,
    ready: false,
    complete: false,
    loading: false,
    error: null,
  };
  readonly #watchers = new Set<() => void>();
  #abort = new AbortController();
  #running = false;

  /** The list is known down to this id; null: nothing is known. */
  #bottom: string | null = null;
  /** Newer jobs that wait to be shown, newest first, and whether the list goes on right after them. */
  #head: JobSummary[] = [];
  #headMeets = true;

  /** For each job that has changed since it was read: when it was told, counted in requests and digests. */
  readonly #stale = new Map<string, number>();
  #tick = 0;
  #headDirty = false;
  #syncing = false;
  #visible: readonly [number, number] = [0, 0];
  #atTop = true;

  constructor(
    private readonly filter: JobFilter,
    private readonly fetchPage: FetchPage,
  ) {}

  /** For `useSyncExternalStore`. */
  readonly state = (): FeedState => this.#state;

  /** For `useSyncExternalStore`. */
  readonly watch = (changed: () => void): (() => void) => {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  };

  /** Read the first page; or, if the list was read before, what has changed since. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#abort = new AbortController();
    if (this.#state.ready) this.refresh();
    else void this.loadMore();
  }

  /** Give up what is under way. */
  stop(): void {
    this.#running = false;
    this.#abort.abort();
    this.#syncing = false;
    if (this.#state.loading) this.#set({ loading: false });
  }

  /** Read the next page of older jobs. */
  async loadMore(): Promise<void> {
    if (!this.#running || this.#state.loading || this.#state.complete) return;
    this.#set({ loading: true, error: null });
    const { signal } = this.#abort;
    const tick = this.#tick;
    const cursor = this.#bottom;
    try {
      const page = await this.fetchPage(PAGE, cursor, signal);
      if (signal.aborted) return;
      this.#merge(page, cursor, tick);
      this.#bottom = page.next_cursor ?? page.jobs.at(-1)?.job_id ?? cursor;
      this.#set({ loading: false, ready: true, complete: page.next_cursor === null });
      void this.#sync();
    } catch (error) {
      if (!signal.aborted) this.#set({ loading: false, error: asError(error) });
    }
  }

  /** Something was missed: everything that is shown is read again. */
  refresh(): void {
    this.#tick += 1;
    for (const { job_id } of this.#state.jobs) this.#stale.set(job_id, this.#tick);
    this.#headDirty = true;
    if (this.#state.ready) void this.#sync();
    else void this.loadMore();
  }

  /** What has changed. */
  take(steps: readonly Step[], more: boolean): void {
    if (!this.#state.ready) {
      // A page is on its way, and may have been read before this happened.
      this.#headDirty = true;
      return;
    }
    this.#tick += 1;
    const held = new Set(this.#head.map(({ job_id }) => job_id));
    let jobs: JobSummary[] | null = null;
    for (const step of steps) {
      const place = placeOf(this.#state.jobs, step.job_id);
      const job = this.#state.jobs[place];
      if (job?.job_id !== step.job_id) {
        this.#headDirty ||= this.#fits(step) || held.has(step.job_id);
        continue;
      }
      if (job.status === step.status && job.finished_at !== null) continue;
      this.#stale.set(step.job_id, this.#tick);
      jobs ??= [...this.#state.jobs];
      jobs[place] = { ...job, status: step.status };
    }
    if (more) {
      this.#headDirty = true;
      for (const { job_id } of this.#state.jobs) this.#stale.set(job_id, this.#tick);
    }
    if (jobs) this.#set({ jobs });
    void this.#sync();
  }

  /** Which rows are seen, both ends included, and whether that is the upper end of the list. */
  show(first: number, last: number, atTop: boolean): void {
    this.#visible = [first, last];
    this.#atTop = atTop;
    if (atTop && this.#head.length > 0) this.showFresh();
    else void this.#sync();
  }

  /** Put the newer jobs on top. */
  showFresh(): void {
    // When there were more than a page of them, nobody has kept those that were read up to date.
    this.#headDirty ||= !this.#headMeets;
    this.#slideIn();
    void this.#sync();
  }

  #slideIn(): void {
    const head = this.#head;
    this.#head = [];
    if (this.#headMeets) {
      this.#set({ jobs: [...head, ...this.#state.jobs], fresh: 0, freshMore: false });
      return;
    }
    // More came than were read: the list begins anew, or there would be a gap in it.
    this.#headMeets = true;
    this.#stale.clear();
    this.#bottom = head.at(-1)?.job_id ?? null;
    this.#set({ jobs: head, fresh: 0, freshMore: false, complete: false });
  }

  /** These were deleted. */
  remove(ids: ReadonlySet<string>): void {
    this.#set({ jobs: this.#state.jobs.filter(({ job_id }) => !ids.has(job_id)) });
  }

  /** Whether a job that is not in the list may belong there. */
  #fits({ job_id, model_name, status }: Step): boolean {
    const { model_name: model, status: statuses } = this.filter;
    if (model !== undefined && model !== model_name) return false;
    if (statuses !== undefined && !statuses.includes(status)) return false;
    return this.#bottom === null || job_id > this.#bottom || this.#state.complete;
  }

  /** Read again what is stale and seen, one request after the other, until nothing is. */
  async #sync(): Promise<void> {
    if (this.#syncing || !this.#running || !this.#state.ready) return;
    this.#syncing = true;
    const { signal } = this.#abort;
    try {
      for (let next = this.#next(); next !== null; next = this.#next()) {
        const tick = this.#tick;
        if (next.cursor === null) this.#headDirty = false;
        const page = await this.fetchPage(next.limit, next.cursor, signal);
        if (signal.aborted) return;
        this.#merge(page, next.cursor, tick);
      }
    } catch {
      // The next digest, or the next look after a break, tries again.
    } finally {
      if (signal === this.#abort.signal) this.#syncing = false;
    }
  }

  #next(): { limit: number; cursor: string | null } | null {
    // When there are more new ones than a page holds, counting on is for nothing: they are read when they are shown.
    if (this.#headDirty && this.#headMeets) return { limit: PAGE, cursor: null };
    const { jobs } = this.#state;
    const [first, last] = this.#visible;
    const stale: number[] = [];
    for (let index = first; index <= Math.min(last, jobs.length - 1); index += 1) {
      const id = jobs[index]?.job_id;
      if (id !== undefined && this.#stale.has(id)) stale.push(index);
    }
    const [from, to] = [stale[0], stale.at(-1)];
    if (from === undefined || to === undefined) return null;
    const above = jobs[from - 1]?.job_id;
    if (above === undefined) return this.#headMeets ? { limit: PAGE, cursor: null } : null;
    return { limit: Math.min(to - from + 1, MAX_PAGE), cursor: above };
  }

  /**
   * Let a page replace the stretch of the list that it covers.
   *
   * @param cursor - the page begins right below it; null: at the newest job.
   * @param tick - when it was asked for: what was told later is newer than the page.
   */
  #merge(page: JobPage, cursor: string | null, tick: number): void {
    const { jobs: known, ready } = this.#state;
    const top = known[0]?.job_id;
    const end = page.next_cursor === null ? "" : (page.jobs.at(-1)?.job_id ?? "");
    let found = page.jobs;
    if (cursor === null && ready) {
      // What is newer than the list waits until it is shown.
      const fresh = top === undefined ? found : found.filter(({ job_id }) => job_id > top);
      this.#head = fresh;
      this.#headMeets = end <= (top ?? "");
      found = found.slice(fresh.length);
    }
    const merged = found.map((job) => {
      const told = this.#stale.get(job.job_id);
      if (told === undefined || told <= tick) {
        this.#stale.delete(job.job_id);
        return job;
      }
      return { ...job, status: known[placeOf(known, job.job_id)]?.status ?? job.status };
    });
    const above = cursor === null ? [] : known.slice(0, placeAfter(known, cursor));
    const below = known.slice(placeAfter(known, end));
    this.#set({
      jobs: [...above, ...merged, ...below],
      fresh: this.#head.length,
      freshMore: !this.#headMeets,
    });
    if (this.#head.length > 0 && (this.#atTop || known.length === 0)) this.#slideIn();
  }

  #set(change: Partial<FeedState>): void {
    this.#state = { ...this.#state, ...change };
    for (const changed of [...this.#watchers]) changed();
  }
}

/** Where a job with this id stands in the list, or would. */
function placeOf(jobs: readonly JobSummary[], id: string): number {
  let [low, high] = [0, jobs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((jobs[middle]?.job_id ?? "") > id) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where those begin that are older than it. */
function placeAfter(jobs: readonly JobSummary[], id: string): number {
  const place = placeOf(jobs, id);
  return jobs[place]?.job_id === id ? place + 1 : place;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
