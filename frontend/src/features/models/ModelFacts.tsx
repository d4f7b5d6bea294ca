import { Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { useVersions } from "@/api/models";
import { type Fact, Facts } from "@/components/Facts";
import { useFormat } from "@/i18n/format";
import type { LiveModel } from "./live";
import { deployed } from "./settings";

/** What Ray Serve aims at where a model's config says nothing. */
const SERVES_TARGET = 2;

/** How a model is deployed, and how it does. */
export function ModelFacts({ model }: { model: LiveModel }) {
  const { t } = useTranslation("models");
  const format = useFormat();
  const { data: versions } = useVersions(model.name);
  const { batchSize, batchWait_s, flush, ...settings } = deployed(model);
  const { minReplicas, maxReplicas, target, cpus, gpus } = settings;
  const cache = versions?.cache;
  const states = Object.entries(model.replicas).filter(([, count]) => count > 0);
  const facts: Fact[] = [
    [
      t("facts.replicas"),
      states.length === 0
        ? t("facts.noReplica")
        : states.map(([state, count]) => `${format.number(count)} ${state}`).join(", "),
    ],
    [t("facts.waiting"), format.number(model.waiting)],
    [
      t("facts.version"),
      <>
        {model.version}{" "}
        {model.versions.length > 1 && (
          <Text span inherit c="dimmed">
            {t("facts.ofVersions", { count: model.versions.length })}
          </Text>
        )}
      </>,
    ],
    [
      t("facts.cache"),
      cache &&
        t("facts.cacheUse", {
          hits: format.number(cache.hits),
          misses: format.number(cache.misses),
          evictions: format.number(cache.evictions),
          most: format.number(cache.max_loaded_versions),
        }),
    ],
    [
      t("facts.batching"),
      batchSize !== null && batchWait_s !== null
        ? t("facts.batch", { size: batchSize, wait: format.duration(batchWait_s), flush })
        : null,
    ],
    [
      t("facts.autoscaling"),
      minReplicas !== null && maxReplicas !== null
        ? minReplicas === maxReplicas
          ? t("facts.fixed", { count: minReplicas })
          : t("facts.scale", {
              min: minReplicas,
              max: maxReplicas,
              target: target ?? SERVES_TARGET,
            })
        : null,
    ],
    [
      t("facts.resources"),
      [cpus !== null && `${cpus} CPU`, gpus ? `${gpus} GPU` : false].filter(Boolean).join(", ") ||
        null,
    ],
  ];
  return <Facts facts={facts} />;
}
