import { queryOptions } from "@tanstack/react-query";
import { body, client, type Schemas } from "./client";

export type Overview = Schemas["Overview"];
export type Sample = Schemas["Sample"];
export type ClusterInfo = Schemas["ClusterInfo"];
export type ModelHistory = Schemas["ModelHistory"];
export type ModelSample = Schemas["ModelSample"];

export const overviewQuery = queryOptions({
  queryKey: ["overview"],
  queryFn: ({ signal }) => body(client.GET("/api/v1/overview", { signal })),
});
