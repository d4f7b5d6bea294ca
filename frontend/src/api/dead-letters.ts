import { queryOptions, useQuery } from "@tanstack/react-query";
import { body, client, type Schemas } from "./client";
import { useFallbackInterval } from "./live-hooks";

export type DeadLetterGroup = Schemas["DeadLetterGroup"];

export const deadLettersKey = ["dead-letters"] as const;

export const deadLettersQuery = queryOptions({
  queryKey: deadLettersKey,
  queryFn: ({ signal }) => body(client.GET("/api/v1/dead-letters", { signal })),
  select: ({ groups }) => groups,
});

/** The dead jobs that have not been repeated yet, by model and error. */
export function useDeadLetters() {
  return useQuery({ ...deadLettersQuery, refetchInterval: useFallbackInterval() });
}
