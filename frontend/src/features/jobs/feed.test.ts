import { expect, test } from "vitest";
import type { JobFilter, JobStatus, JobSummary } from "@/api/jobs";
import { JobFeed, PAGE } from "./feed";

const idOf = (n: number) => `0193f3a2-0000-7000-8000-${String(n).padStart(12, "0")}`;

/** As much of the API as a list needs: jobs 1, 2, ..., the newest last. */
class Jobs {
  readonly all: JobSummary[] = [];
  requests: { limit: number; cursor: string | null }[] = [];
  /** Waited for before an answer leaves. */
  gate: Promise<void> = Promise.resolve();

  add(count: number, status: JobStatus = "succeeded") {
    for (let made = 0; made < count; made += 1) {
      const job_id = idOf(this.all.length + 1);
      const finished_at = status === "queued" ? null : "2026-01-05T12:00:01Z";
      this.all.push({ job_id, status, model_name: "m", attempt: 1, finished_at } as JobSummary);
    }
    return this;
  }

  end(n: number, status: JobStatus = "succeeded") {
    const job = this.all[n - 1];
    if (!job) throw new Error("there is no such job");
    this.all[n - 1] = { ...job, status, finished_at: "2026-01-05T12:00:09Z" };
    return { job_id: idOf(n), model_name: "m", status };
  }

  created(n: number, status: JobStatus = "queued") {
    return { job_id: idOf(n), model_name: "m", status };
  }

  feed(filter: JobFilter = {}) {
    const feed = new JobFeed(filter, async (limit, cursor) => {
      this.requests.push({ limit, cursor });
      const fitting = this.all
        .filter(({ job_id }) => cursor === null || job_id < cursor)
        .filter(({ status }) => filter.status?.includes(status) ?? true)
        .reverse();
      await this.gate;
      const jobs = fitting.slice(0, limit);
      const next_cursor = fitting.length > limit ? (jobs.at(-1)?.job_id ?? null) : null;
      return { jobs, next_cursor };
    });
    feed.start();
    return feed;
  }

  take() {
    return this.requests.splice(0);
  }
}

/** All promises that are under way have come to rest. */
const settled = () => new Promise((resolve) => setTimeout(resolve));

const numbers = (feed: JobFeed) => feed.state().jobs.map(({ job_id }) => Number(job_id.slice(-6)));

test("pages follow each other without a gap until the oldest", async () => {
  const jobs = new Jobs().add(PAGE + 20);
  const feed = jobs.feed();
  await settled();
  expect([numbers(feed).length, feed.state().complete]).toEqual([PAGE, false]);
  await feed.loadMore();
  expect(numbers(feed)).toEqual(Array.from({ length: PAGE + 20 }, (_, n) => PAGE + 20 - n));
  expect(feed.state().complete).toBe(true);
  await feed.loadMore();
  expect(jobs.take().length).toBe(2);
});

test("a row takes its new status at once, and the rest of it once it is seen", async () => {
  const jobs = new Jobs().add(PAGE, "queued");
  const feed = jobs.feed();
  await settled();
  feed.show(10, 20, false);
  jobs.take();
  feed.take([jobs.end(PAGE - 12), jobs.end(1)], false);
  const row = (place: number) => feed.state().jobs[place];
  expect([row(12)?.status, row(12)?.finished_at]).toEqual(["succeeded", null]);
  await settled();
  expect(row(12)?.finished_at).not.toBeNull();
  expect(jobs.take()).toEqual([{ limit: 1, cursor: idOf(PAGE - 11) }]);
  expect([row(PAGE - 1)?.status, row(PAGE - 1)?.finished_at]).toEqual(["succeeded", null]);
  feed.show(PAGE - 5, PAGE - 1, false);
  await settled();
  expect(row(PAGE - 1)?.finished_at).not.toBeNull();
  expect(jobs.take().length).toBe(1);
});

test("an answer that is older than what was told does not take it back", async () => {
  const jobs = new Jobs().add(3, "queued");
  const feed = jobs.feed();
  await settled();
  feed.show(0, 2, true);
  let open = () => {};
  jobs.gate = new Promise((resolve) => {
    open = resolve;
  });
  feed.take([jobs.created(2, "running")], false);
  feed.take([jobs.end(2)], false);
  open();
  await settled();
  expect(feed.state().jobs[1]).toMatchObject({ status: "succeeded" });
  expect(feed.state().jobs[1]?.finished_at).not.toBeNull();
});

test("new jobs are counted while one reads further down, and slide in at the top", async () => {
  const jobs = new Jobs().add(5);
  const feed = jobs.feed();
  await settled();
  feed.show(1, 4, false);
  jobs.add(2, "queued");
  feed.take([jobs.created(6), jobs.created(7)], false);
  await settled();
  expect([numbers(feed), feed.state().fresh]).toEqual([[5, 4, 3, 2, 1], 2]);
  feed.show(0, 4, true);
  expect([numbers(feed), feed.state().fresh]).toEqual([[7, 6, 5, 4, 3, 2, 1], 0]);
  jobs.add(1);
  feed.take([jobs.created(8)], false);
  await settled();
  expect(numbers(feed)[0]).toBe(8);
});

test("after more new jobs than a page holds the list begins anew, without a gap", async () => {
  const jobs = new Jobs().add(5);
  const feed = jobs.feed();
  await settled();
  feed.show(1, 4, false);
  jobs.add(PAGE + 50);
  feed.take([jobs.created(150)], true);
  await settled();
  expect([feed.state().fresh, feed.state().freshMore]).toEqual([PAGE, true]);
  jobs.take();
  feed.take([jobs.created(151)], true);
  await settled();
  expect(jobs.take()).not.toContainEqual({ limit: PAGE, cursor: null });
  feed.showFresh();
  await settled();
  await feed.loadMore();
  expect(numbers(feed)).toEqual(Array.from({ length: PAGE + 55 }, (_, n) => PAGE + 55 - n));
});

test("a job that no longer fits leaves the list, one that begins to fit comes into it", async () => {
  const jobs = new Jobs().add(2, "queued").add(1).add(2, "queued");
  const feed = jobs.feed({ status: ["queued"] });
  await settled();
  feed.show(0, 3, true);
  expect(numbers(feed)).toEqual([5, 4, 2, 1]);
  feed.take([jobs.end(4)], false);
  await settled();
  expect(numbers(feed)).toEqual([5, 2, 1]);
  jobs.take();
  feed.take([{ ...jobs.created(9), model_name: "other", status: "failed" }], false);
  expect(jobs.take()).toEqual([]);
});

test("an empty list begins with the first job", async () => {
  const jobs = new Jobs();
  const feed = jobs.feed();
  await settled();
  expect([feed.state().ready, feed.state().complete]).toEqual([true, true]);
  jobs.add(1, "queued");
  feed.take([jobs.created(1)], false);
  await settled();
  expect(numbers(feed)).toEqual([1]);
});

test("what is stopped and started again reads what it missed", async () => {
  const jobs = new Jobs().add(3);
  const feed = jobs.feed();
  await settled();
  jobs.add(1);
  feed.stop();
  feed.start();
  feed.stop();
  feed.start();
  await settled();
  expect(numbers(feed)).toEqual([4, 3, 2, 1]);
});
