import { queryOptions } from "@tanstack/react-query";
import { body, client, type Schemas } from "./client";

export type JobSummary = Schemas["JobSummary"];
export type JobDetail = Schemas["JobDetail"];
export type JobStatus = JobSummary["status"];
export type JobPage = Schemas["JobPage"];
export type Explanation = Schemas["Explanation"];
export type Accepted = Schemas["Accepted"];
export type Replays = Schemas["Replays"];
export type Replay = Schemas["Replay"];
export type CancelVerdict = Schemas["CancelVerdict"];

/** In the order of a job's life. */
export const STATUSES = [
  "queued",
  "running",
  "succeeded",
  "failed",
  "cancelled",
  "expired",
  "dead",
] as const satisfies readonly JobStatus[];

/** Whether a job in this state never changes again. */
export function isTerminal(status: JobStatus): boolean {
  return status !== "queued" && status !== "running";
}

/** How many ids one call takes. */
export const MAX_IDS = 1000;
/** How many jobs one page holds at most. */
export const MAX_PAGE = 500;

/** What a list of jobs is restricted to, as the API spells it. */
export interface JobFilter {
  model_name?: string;
  status?: JobStatus[];
  label?: string[];
  created_after?: string;
  created_before?: string;
  parent_id?: string;
}

/** Jobs without their payloads, newest first: those that come after `cursor`, a job's id. */
export function listJobs(
  filter: JobFilter,
  limit: number,
  cursor: string | null,
  signal?: AbortSignal,
): Promise<JobPage> {
  const query = { ...filter, limit, ...(cursor === null ? {} : { cursor }) };
  return body(
    client.GET("/api/v1/jobs", { params: { query }, ...(signal === undefined ? {} : { signal }) }),
  );
}

/** All that is known of a job stands under it. */
export const jobKey = (id: string) => ["jobs", "one", id] as const;

/** One job, with its input and result. */
export const jobQuery = (id: string) =>
  queryOptions({
    queryKey: [...jobKey(id), "detail"],
    queryFn: ({ signal }) =>
      body(client.GET("/api/v1/jobs/{job_id}", { params: { path: { job_id: id } }, signal })),
  });

/** Where its time went. */
export const explanationQuery = (id: string) =>
  queryOptions({
    queryKey: [...jobKey(id), "explanation"],
    queryFn: ({ signal }) =>
      body(
        client.GET("/api/v1/jobs/{job_id}/explain", { params: { path: { job_id: id } }, signal }),
      ),
  });

/** The jobs that repeat it, newest first. */
export const repeatsQuery = (id: string) =>
  queryOptions({
    queryKey: [...jobKey(id), "repeats"],
    queryFn: ({ signal }) => listJobs({ parent_id: id }, 20, null, signal),
    select: ({ jobs }) => jobs,
  });

const ofJob = (id: string) => ({ params: { path: { job_id: id } } });

export function cancelJob(id: string): Promise<JobSummary> {
  return body(client.POST("/api/v1/jobs/{job_id}/cancel", ofJob(id)));
}

/** Cancel many, at most `MAX_IDS`: what became of each, in order. */
export async function cancelJobs(ids: string[]): Promise<CancelVerdict[]> {
  const answer = await body(client.POST("/api/v1/jobs/cancel", { body: { job_ids: ids } }));
  return answer.items;
}

/** What a repeat has otherwise. */
export type Edits = NonNullable<
  NonNullable<
    import("./schema").paths["/api/v1/jobs/{job_id}/retry"]["post"]["requestBody"]
  >["content"]["application/json"]
>;

/** Repeat a job that has ended. */
export function retryJob(id: string, edits?: Edits): Promise<Accepted> {
  return body(
    client.POST("/api/v1/jobs/{job_id}/retry", {
      ...ofJob(id),
      ...(edits === undefined ? {} : { body: edits }),
    }),
  );
}

export function deleteJob(id: string): Promise<undefined> {
  return body(client.DELETE("/api/v1/jobs/{job_id}", ofJob(id)));
}

/** Which dead jobs to repeat: these, or the oldest of a model and an error. */
export type ReplayRequest =
  | { job_ids: string[] }
  | { model_name: string; error_code: string; limit: number };

/** Repeat dead jobs that have not been repeated yet, in one transaction. */
export function replay(request: ReplayRequest, signal?: AbortSignal): Promise<Replays> {
  return body(
    client.POST("/api/v1/jobs/retry", {
      body: request,
      ...(signal === undefined ? {} : { signal }),
    }),
  );
}
