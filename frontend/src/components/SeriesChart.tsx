import { Button, Group, Stack, Text } from "@mantine/core";
import { useId, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { useFormat } from "@/i18n/format";
import { Chart } from "./Chart";
import { JsonView } from "./JsonView";
import { draw, from, type SeriesLabels } from "./series";

interface SeriesChartProps {
  title: string;
  /** What the model was given, oldest first. */
  data: readonly number[];
  /** What it answered; without it the series is drawn alone. */
  output?: Readonly<Record<string, unknown>> | null | undefined;
  height?: number;
}

/** Of a long history, this many points before the forecast, or so many times its length. */
const TAIL_POINTS = 150;
const TAIL_FORECASTS = 4;

/** A series with what a model said of it: forecast and its band, anomalies, scores; the rest as JSON. */
export function SeriesChart({ title, data, output, height = 240 }: SeriesChartProps) {
  const { t } = useTranslation();
  const format = useFormat();
  const sync = useId();
  const [all, setAll] = useState(false);
  const drawn = useMemo(() => {
    const labels: SeriesLabels = {
      history: t("series.history"),
      forecast: t("series.forecast"),
      anomalies: t("series.anomalies"),
      scores: t("series.scores"),
      threshold: t("series.threshold"),
      quantile: (quantile) => t("series.quantile", { quantile }),
    };
    return draw(data, output, labels);
  }, [data, output, t]);

  const steps = drawn.main.x.length - data.length;
  const tail = steps === 0 ? data.length : Math.max(TAIL_POINTS, TAIL_FORECASTS * steps);
  const start = all ? 0 : Math.max(0, data.length - tail);
  const main = useMemo(() => from(drawn.main, start), [drawn, start]);
  const scores = useMemo(() => drawn.scores && from(drawn.scores, start), [drawn, start]);

  return (
    <Stack gap="xs">
      <Chart
        title={title}
        {...main}
        time={false}
        format={format.value}
        sync={sync}
        height={height}
      />
      {scores && (
        <Chart
          title={t("series.scores")}
          {...scores}
          time={false}
          format={format.value}
          sync={sync}
          range={[0, null]}
          height={height / 2}
        />
      )}
      {data.length > tail && (
        <Group gap="xs">
          <Text size="xs" c="dimmed">
            {!all &&
              t("series.cut", { shown: format.number(tail), all: format.number(data.length) })}
          </Text>
          <Button size="compact-xs" variant="subtle" onClick={() => setAll(!all)}>
            {all ? t("series.tail") : t("series.all")}
          </Button>
        </Group>
      )}
      {drawn.rest && <JsonView value={drawn.rest} lines={16} />}
    </Stack>
  );
}
