import { useMemo } from "react";
import { useTranslation } from "react-i18next";

export interface Format {
  /** 1234.5 → 1,234.5, with so many digits behind the point at most. */
  number(value: number, digits?: number): string;
  /** 1234567 → 1.2M. */
  compact(value: number): string;
  /** A number of any size, with five digits that count: 0.0012346, 12.346, 1.2346e+20. */
  value(value: number): string;
  /** Seconds as a reader wants them: 250 µs, 12.3 ms, 1.24 s, 3 min 20 s. */
  duration(seconds: number): string;
  /** Bytes in units of 1024: 1.5 GiB. */
  bytes(value: number): string;
  /** 73.4 → 73%. */
  percent(value: number): string;
  /** The time of day, and the date too where it is not today's. */
  time(at: Date | number | string): string;
  /** Everything, to the millisecond. */
  moment(at: Date | number | string): string;
  /** 3 minutes ago. */
  ago(at: Date | number | string, now: number): string;
}

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function newFormat(language: string): Format {
  const numbers = new Map<number, Intl.NumberFormat>();
  const number = (value: number, digits = 1) => {
    let format = numbers.get(digits);
    if (!format) {
      format = new Intl.NumberFormat(language, { maximumFractionDigits: digits });
      numbers.set(digits, format);
    }
    return format.format(value);
  };
  const compact = new Intl.NumberFormat(language, {
    notation: "compact",
    maximumFractionDigits: 1,
  });
  const significant = new Intl.NumberFormat(language, { maximumSignificantDigits: 5 });
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "long" });
  const clock = new Intl.DateTimeFormat(language, { timeStyle: "medium" });
  const full = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
  const exact = new Intl.DateTimeFormat(language, {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
    timeZoneName: "short",
  });

  return {
    number,
    compact: (value) => compact.format(value),
    value(value) {
      const size = Math.abs(value);
      const plain = size === 0 || (size >= 1e-4 && size < 1e9);
      return plain ? significant.format(value) : value.toExponential(3);
    },
    duration(seconds) {
      const size = Math.abs(seconds);
      if (size === 0) return "0 s";
      if (size < 0.001) return `${number(seconds * 1e6, 0)} µs`;
      if (size < 1) return `${number(seconds * 1e3, size < 0.1 ? 1 : 0)} ms`;
      if (size < 60) return `${number(seconds, size < 10 ? 2 : 1)} s`;
      const whole = Math.round(size);
      if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
      return `${number(Math.floor(whole / 3600))} h ${Math.floor((whole % 3600) / 60)} min`;
    },
    bytes(value) {
      let power = 0;
      let size = value;
      while (size >= 1024 && power < BYTE_UNITS.length - 1) {
        size /= 1024;
        power += 1;
      }
      return `${number(size, size < 10 && power > 0 ? 1 : 0)} ${BYTE_UNITS[power]}`;
    },
    percent: (value) => `${number(value, 0)}%`,
    time(at) {
      const date = new Date(at);
      return (date.toDateString() === new Date().toDateString() ? clock : full).format(date);
    },
    moment: (at) => exact.format(new Date(at)),
    ago(at, now) {
      const seconds = (new Date(at).getTime() - now) / 1000;
      const size = Math.abs(seconds);
      if (size < 60) return relative.format(Math.round(seconds), "second");
      if (size < 3600) return relative.format(Math.round(seconds / 60), "minute");
      if (size < 86_400) return relative.format(Math.round(seconds / 3600), "hour");
      return relative.format(Math.round(seconds / 86_400), "day");
    },
  };
}

/** Numbers and times in the reader's language. */
export function useFormat(): Format {
  const { i18n } = useTranslation();
  return useMemo(() => newFormat(i18n.language), [i18n.language]);
}
