import { Text } from "@mantine/core";
import { useFormat } from "@/i18n/format";
import classes from "./tables.module.css";

/** From here on a part is nearly full. */
const FULL_PERCENT = 90;

interface MeterProps {
  label: string;
  /** null: it is not reported. */
  percent: number | null;
  note?: string;
}

/** How much of something is used. */
export function Meter({ label, percent, note }: MeterProps) {
  const format = useFormat();
  if (percent === null) return <span>–</span>;
  return (
    <div className={classes.meter}>
      <meter
        className={classes.track}
        aria-label={label}
        min={0}
        max={100}
        high={FULL_PERCENT}
        value={percent}
      />
      <span className={classes.number}>{format.percent(percent)}</span>
      {note && (
        <Text span size="xs" c="dimmed" className={classes.number ?? ""}>
          {note}
        </Text>
      )}
    </div>
  );
}
