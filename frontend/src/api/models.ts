import { queryOptions, useQuery } from "@tanstack/react-query";
import { body, client, type Schemas } from "./client";
import { useFallbackInterval } from "./live-hooks";

export type ModelInfo = Schemas["ModelInfo"];

export const modelsKey = ["models"] as const;

export const modelsQuery = queryOptions({
  queryKey: [...modelsKey, "list"],
  queryFn: ({ signal }) => body(client.GET("/api/v1/models", { signal })),
  select: (answer) => answer.models,
});

/** All models, as they are deployed. */
export function useModels() {
  return useQuery({ ...modelsQuery, refetchInterval: useFallbackInterval() });
}
