import { Alert, Stack } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Schemas } from "@/api/client";
import type { Predicted } from "@/api/inference";
import { type Fact, Facts } from "@/components/Facts";
import { JsonView } from "@/components/JsonView";
import { SeriesChart } from "@/components/SeriesChart";
import { asSeries, isDrawable } from "@/components/series";
import { useFormat } from "@/i18n/format";

type JobResult = Schemas["JobResult"];

/** What a predict answered, and how long that took. */
export function Prediction({ predicted, data }: { predicted: Predicted; data: unknown }) {
  const { t } = useTranslation("playground");
  const format = useFormat();
  const { result, roundTrip_s } = predicted;
  const between = (from: string | null, to: string | null): string | null =>
    from && to ? format.duration((Date.parse(to) - Date.parse(from)) / 1000) : null;
  const facts: Fact[] = [
    [t("answer.roundTrip"), format.duration(roundTrip_s)],
    [t("answer.waited"), between(result.created_at, result.started_at)],
    [t("answer.computed"), between(result.started_at, result.finished_at)],
    [t("answer.version"), result.model_version],
  ];
  return (
    <Stack gap="sm">
      <Facts facts={facts} inline />
      <Output result={result} data={data} />
    </Stack>
  );
}

/** A result, drawn where it can be; or why there is none. */
export function Output({ result, data }: { result: JobResult; data: unknown }) {
  const { t } = useTranslation("playground");
  const series = asSeries(data);
  if (result.error) {
    return (
      <Alert color="red" variant="light" title={result.error.title} role="alert">
        {result.error.detail}
      </Alert>
    );
  }
  if (!result.result) return null;
  if (!series || !isDrawable(result.result)) return <JsonView value={result.result} />;
  return <SeriesChart title={t("answer.chart")} data={series} output={result.result} />;
}
