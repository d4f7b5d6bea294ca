import { queryOptions, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
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

export type Versions = Schemas["VersionsInfo"];
export type Version = Schemas["VersionInfo"];

export const versionsKey = [...modelsKey, "versions"] as const;

export const versionsQuery = (name: string) =>
  queryOptions({
    queryKey: [...versionsKey, name],
    queryFn: ({ signal }) =>
      body(client.GET("/api/v1/models/{name}/versions", { params: { path: { name } }, signal })),
  });

/** A model's versions, where they are loaded, and what its replicas' caches did. */
export function useVersions(name: string) {
  return useQuery({ ...versionsQuery(name), refetchInterval: useFallbackInterval() });
}

/** What can be done with the versions of a model. */
export type VersionAction =
  | { do: "load" | "unload" | "default"; version: string }
  | { do: "rollback"; version: null };

export function useVersionAction(name: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async (action: VersionAction): Promise<void> => {
      await body<unknown>(send(name, action));
    },
    onSettled: () => queries.invalidateQueries({ queryKey: modelsKey }),
  });
}

function send(name: string, action: VersionAction) {
  const of = { params: { path: { name } } };
  switch (action.do) {
    case "rollback":
      return client.POST("/api/v1/models/{name}/default", { ...of, body: { rollback: true } });
    case "default":
      return client.POST("/api/v1/models/{name}/default", {
        ...of,
        body: { version: action.version },
      });
    default: {
      const place = "/api/v1/models/{name}/versions/{version}/load";
      const one = { params: { path: { name, version: action.version } } };
      return action.do === "load" ? client.POST(place, one) : client.DELETE(place, one);
    }
  }
}
