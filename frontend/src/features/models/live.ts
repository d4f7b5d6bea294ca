import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";
import { type ModelInfo, modelsKey, useModels, versionsKey } from "@/api/models";
import { type Overview, useOverview } from "@/api/overview";

/** A model with what the live overview knows of it: its queue on all ingresses, its replicas. */
export interface LiveModel extends ModelInfo {
  /** Where each replica is; empty until the cluster was looked at. */
  placed: Overview["cluster"]["replicas"];
}

const CACHES_EVERY_MS = 10_000;

/** All models, live; they are read again when a replica comes or goes. */
export function useLiveModels() {
  const queries = useQueryClient();
  const { data: overview } = useOverview();
  const answer = useModels();
  const replicas = overview?.cluster.replicas;

  const signature = replicas?.map(({ replica_id, state }) => `${replica_id} ${state}`).sort();
  const changed = signature?.join("\n");
  const seen = useRef(changed);
  useEffect(() => {
    if (seen.current !== undefined && seen.current !== changed) {
      void queries.invalidateQueries({ queryKey: modelsKey });
    }
    seen.current = changed;
  }, [changed, queries]);

  // Each batch is a hit or a miss of a cache: while there are some, those are read again, but not at every sample.
  const works = Object.values(overview?.now.models ?? {}).some(({ batches }) => batches > 0);
  const sampledAt = overview?.now.at;
  const readAt = useRef(0);
  useEffect(() => {
    const at = Date.parse(sampledAt ?? "");
    if (!works || at - readAt.current < CACHES_EVERY_MS) return;
    readAt.current = at;
    void queries.invalidateQueries({ queryKey: versionsKey });
  }, [works, sampledAt, queries]);

  const { data } = answer;
  const models = useMemo(
    () => data?.map((model) => withOverview(model, overview)),
    [data, overview],
  );
  return { ...answer, models };
}

export function withOverview(model: ModelInfo, overview: Overview | undefined): LiveModel {
  const placed = (overview?.cluster.replicas ?? []).filter(
    ({ model_name }) => model_name === model.name,
  );
  const waiting = overview?.now.models[model.name]?.waiting ?? model.waiting;
  if (placed.length === 0) return { ...model, waiting, placed };
  const replicas: Record<string, number> = {};
  for (const { state } of placed) replicas[state] = (replicas[state] ?? 0) + 1;
  return { ...model, waiting, placed, replicas };
}
