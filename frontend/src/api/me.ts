import { queryOptions, useQuery } from "@tanstack/react-query";
import { body, client, type Schemas } from "./client";

/** Who the API takes the page for. */
export type Me = Schemas["Me"];
export type Scope = Me["scopes"][number];

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: ({ signal }): Promise<Me> => body(client.GET("/api/v1/me", { signal })),
  staleTime: Number.POSITIVE_INFINITY,
});

/** Undefined until it is known. */
export function useMe(): Me | undefined {
  return useQuery(meQuery).data;
}

/** Whether the key allows this. The API has the last word, and the only one while nothing is known. */
export function useMay(scope: Scope): boolean {
  const me = useMe();
  return me === undefined || me.scopes.includes(scope);
}

/** What a `curl` needs where the API asks for keys, which are never shown; null: nothing. */
export function useKeyHeader(): string | null {
  return useMe()?.keys === "on" ? '-H "Authorization: Bearer $SATELLITE_API_KEY"' : null;
}

/** Whom the API takes this key for: the session's own is left as it is. */
export function checkKey(key: string): Promise<Me> {
  return body(client.GET("/api/v1/me", { headers: { Authorization: `Bearer ${key}` } }));
}
