import { Tooltip } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Explanation } from "@/api/jobs";
import { useFormat } from "@/i18n/format";
import classes from "./Timeline.module.css";
import { segmentsOf } from "./timeline";

/** The parts that the API knows, with the colours that they have in every bar. */
const COLORS = {
  admission: "var(--chart-6)",
  delay: "var(--status-idle)",
  earlier_attempts: "var(--status-bad)",
  queue: "var(--chart-2)",
  version_load: "var(--chart-4)",
  batch_fill: "var(--chart-3)",
  compute: "var(--chart-1)",
  recording: "var(--chart-5)",
  so_far: "var(--status-idle)",
} as const;

type Part = keyof typeof COLORS;

const isPart = (name: string): name is Part => Object.hasOwn(COLORS, name);

/** Where a job's time went, as one bar; its legend says the same in words. */
export function Timeline({ parts, total }: { parts: Explanation["parts_s"]; total: number }) {
  const { t } = useTranslation("jobs");
  const format = useFormat();
  const segments = segmentsOf(parts).map((segment) => ({
    ...segment,
    label: isPart(segment.name) ? t(`part.${segment.name}`) : segment.name,
    color: isPart(segment.name) ? COLORS[segment.name] : "var(--chart-6)",
  }));
  return (
    <>
      <div className={classes.bar} aria-hidden>
        {segments.map(({ name, label, seconds, width, color }) => (
          <Tooltip key={name} label={`${label}: ${format.duration(seconds)}`}>
            <div className={classes.segment} style={{ width: `${width}%`, background: color }} />
          </Tooltip>
        ))}
      </div>
      <ul className={classes.legend} aria-label={t("detail.where")}>
        {segments.map(({ name, label, seconds, color }) => (
          <li key={name}>
            <span className={classes.swatch} style={{ background: color }} />
            {label} <strong>{format.duration(seconds)}</strong>
          </li>
        ))}
        <li>
          {t("part.total")} <strong>{format.duration(total)}</strong>
        </li>
      </ul>
    </>
  );
}
