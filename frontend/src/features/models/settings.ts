import type { ModelInfo } from "@/api/models";

type Settings = Readonly<Record<string, unknown>>;

/** What is known of a model's settings; null: it is not told. */
export interface Deployed {
  batchSize: number | null;
  batchWait_s: number | null;
  flush: string | null;
  minReplicas: number | null;
  maxReplicas: number | null;
  /** Requests per replica that the autoscaler aims at. */
  target: number | null;
  cpus: number | null;
  gpus: number | null;
}

export function deployed({ batching, autoscaling, resources }: ModelInfo): Deployed {
  return {
    batchSize: numberIn(batching, "max_batch_size"),
    batchWait_s: numberIn(batching, "batch_wait_timeout_s"),
    flush: typeof batching.flush === "string" ? batching.flush : null,
    minReplicas: numberIn(autoscaling, "min_replicas"),
    maxReplicas: numberIn(autoscaling, "max_replicas"),
    target: numberIn(autoscaling, "target_ongoing_requests"),
    cpus: numberIn(resources, "num_cpus"),
    gpus: numberIn(resources, "num_gpus"),
  };
}

function numberIn(settings: Settings, name: string): number | null {
  const found = settings[name];
  return typeof found === "number" ? found : null;
}
