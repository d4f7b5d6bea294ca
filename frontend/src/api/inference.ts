import { queryOptions, useMutation } from "@tanstack/react-query";
import { body, client, type Schemas } from "./client";

/** How a model is called: for its answer, or as a job. */
export type Mode = "predict" | "submit";

/** The body of a call. */
export interface Call {
  model_name: string;
  data: unknown;
  config?: Record<string, unknown>;
  model_version?: string;
  priority?: number;
  deadline_s?: number;
  labels?: Record<string, string>;
}

export interface Predicted {
  result: Schemas["JobResult"];
  /** From the click to the answer, network and all. */
  roundTrip_s: number;
}

// The generated type lists the models of whoever generated it; what is deployed may be others.
const asBody = (call: Call) => call as unknown as Schemas["InferenceRequest"];

/** Compute now. Nothing is stored. */
export function usePredict() {
  return useMutation({
    mutationFn: async (call: Call): Promise<Predicted> => {
      const began = performance.now();
      const answer = client.POST("/api/v1/inference/predict", { body: asBody(call) });
      // 202 is for those that are to be stored, which this one is not.
      const result = (await body(answer)) as Schemas["JobResult"];
      return { result, roundTrip_s: (performance.now() - began) / 1000 };
    },
  });
}

/** Store a job. */
export function useSubmit() {
  return useMutation({
    mutationFn: (call: Call) =>
      body(client.POST("/api/v1/inference/submit", { body: asBody(call) })),
  });
}

/** A job with its result, as it is now. */
export const jobResultQuery = (job_id: string) =>
  queryOptions({
    queryKey: ["jobs", "one", job_id, "result"],
    queryFn: ({ signal }) =>
      body(
        client.GET("/api/v1/inference/result/{job_id}", { params: { path: { job_id } }, signal }),
      ),
  });

/** Where the time of a job went. */
export const jobTimesQuery = (job_id: string) =>
  queryOptions({
    queryKey: ["jobs", "one", job_id, "explain"],
    queryFn: ({ signal }) =>
      body(client.GET("/api/v1/jobs/{job_id}/explain", { params: { path: { job_id } }, signal })),
  });
