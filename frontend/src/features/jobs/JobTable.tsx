import { Anchor, Button, Checkbox, Loader } from "@mantine/core";
import { useMediaQuery } from "@mantine/hooks";
import { IconArrowUp } from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { useVirtualizer } from "@tanstack/react-virtual";
import type { TFunction } from "i18next";
import { type MouseEvent, memo, useCallback, useEffect, useMemo, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { JobSummary } from "@/api/jobs";
import { useErrorText } from "@/components/ErrorState";
import { useNow } from "@/components/now";
import { StatusBadge } from "@/components/StatusBadge";
import { type Format, useFormat } from "@/i18n/format";
import type { FeedState, JobFeed } from "./feed";
import classes from "./jobs.module.css";
import { choose, chooseAll, type Selection } from "./selection";

const ROW_PX = 34;
const PHONE_ROW_PX = 54;
/** How far from the end of what is loaded the next page is asked for, in rows. */
const AHEAD = 30;

interface JobTableProps extends FeedState {
  feed: JobFeed;
  selection: Selection;
  onSelection: (selection: Selection) => void;
}

/** The rows that are seen of any number of jobs. */
export function JobTable(props: JobTableProps) {
  const { feed, jobs, fresh, freshMore, complete, loading, error, selection, onSelection } = props;
  const { t } = useTranslation("jobs");
  const format = useFormat();
  const scroll = useRef<HTMLDivElement>(null);
  const phone = useMediaQuery("(max-width: 40em)", undefined, { getInitialValueInEffect: false });
  const order = useMemo(() => jobs.map(({ job_id }) => job_id), [jobs]);

  // A new function would have all rows measured anew.
  const getItemKey = useCallback((index: number) => order[index] ?? index, [order]);
  const rows = useVirtualizer({
    count: jobs.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => (phone ? PHONE_ROW_PX : ROW_PX),
    getItemKey,
    initialOffset: feed.offset,
    overscan: 8,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the height of all rows changes with it.
  useEffect(() => rows.measure(), [phone]);

  const { startIndex, endIndex } = rows.range ?? { startIndex: 0, endIndex: 0 };
  const atTop = (rows.scrollOffset ?? 0) <= 4;
  useEffect(() => feed.show(startIndex, endIndex, atTop), [feed, startIndex, endIndex, atTop]);
  useEffect(() => {
    feed.offset = rows.scrollOffset ?? 0;
  });
  useEffect(() => {
    if (endIndex >= jobs.length - AHEAD && !complete && !loading && !error) void feed.loadMore();
  }, [feed, endIndex, jobs.length, complete, loading, error]);

  // The page moves only when its reader does: rows that come or go above what is read are made up for.
  const held = useRef<{ id: string; index: number } | null>(null);
  useEffect(() => {
    const before = held.current;
    const now = before ? order.indexOf(before.id) : -1;
    if (before && now >= 0 && now !== before.index && !atTop && scroll.current) {
      scroll.current.scrollTop += (now - before.index) * (phone ? PHONE_ROW_PX : ROW_PX);
    }
    const id = order[startIndex];
    held.current = id === undefined ? null : { id, index: startIndex };
  }, [order, startIndex, atTop, phone]);

  const latest = useRef({ selection, order, onSelection });
  latest.current = { selection, order, onSelection };
  const onChoose = useMemo(
    () => (id: string, shift: boolean) => {
      const { selection, order, onSelection } = latest.current;
      onSelection(choose(selection, order, id, shift));
    },
    [],
  );

  const navigate = useNavigate();
  const onOpen = useCallback(
    (id: string) => void navigate({ to: "/jobs/$jobId", params: { jobId: id } }),
    [navigate],
  );

  const all = order.length > 0 && order.every((id) => selection.ids.has(id));
  const heads = ["status", "job", "model", "version", "created"] as const;
  const numbers = ["duration", "attempts", "batch"] as const;
  return (
    <div className={`panel ${classes.table}`}>
      {fresh > 0 && (
        <Button
          className={classes.fresh ?? ""}
          size="compact-sm"
          fz="xs"
          radius="xl"
          leftSection={<IconArrowUp size={14} />}
          onClick={() => {
            feed.showFresh();
            rows.scrollToOffset(0);
          }}
        >
          {t(freshMore ? "newMore" : "new", { count: fresh })}
        </Button>
      )}

      {/* biome-ignore-start lint/a11y/useSemanticElements: the rows of a real table cannot be virtual. */}
      {/* biome-ignore-start lint/a11y/useFocusableInteractive: the links and boxes in the rows are. */}
      <div
        className={classes.grid}
        role="grid"
        aria-label={t("title")}
        aria-rowcount={complete ? jobs.length + 1 : -1}
        aria-multiselectable
      >
        <div className={classes.head} role="row">
          <div role="columnheader">
            <Checkbox
              size="xs"
              aria-label={t("select.all")}
              checked={all}
              indeterminate={!all && selection.ids.size > 0}
              onChange={() => onSelection(chooseAll(selection, order))}
            />
          </div>
          {heads.map((name) => (
            <div key={name} role="columnheader" className={name === "version" ? classes.wide : ""}>
              {t(`column.${name}`)}
            </div>
          ))}
          {numbers.map((name) => (
            <div
              key={name}
              role="columnheader"
              className={`${classes.number} ${name === "duration" ? "" : classes.wide}`}
            >
              {t(`column.${name}`)}
            </div>
          ))}
          <div role="columnheader" className={classes.wide}>
            {t("column.labels")}
          </div>
        </div>

        <div className={classes.scroll} ref={scroll} role="rowgroup">
          <div role="presentation" style={{ height: rows.getTotalSize(), position: "relative" }}>
            {rows.getVirtualItems().map(({ key, index, start, size }) => {
              const job = jobs[index];
              return (
                job && (
                  <Row
                    key={key}
                    job={job}
                    index={index}
                    start={start}
                    size={size}
                    selected={selection.ids.has(job.job_id)}
                    onChoose={onChoose}
                    onOpen={onOpen}
                    t={t}
                    format={format}
                  />
                )
              );
            })}
          </div>
        </div>
      </div>
      {/* biome-ignore-end lint/a11y/useFocusableInteractive: the links and boxes in the rows are. */}
      {/* biome-ignore-end lint/a11y/useSemanticElements: the rows of a real table cannot be virtual. */}

      <div className={classes.foot}>
        <span aria-live="polite">
          {t(complete ? "count" : "countMore", {
            count: jobs.length,
            n: format.number(jobs.length),
          })}
        </span>
        {loading && <Loader size={14} aria-label={t("loadingMore")} />}
        {error && <LoadError error={error} onRetry={() => void feed.loadMore()} />}
      </div>
    </div>
  );
}

interface RowProps {
  job: JobSummary;
  index: number;
  start: number;
  size: number;
  selected: boolean;
  onChoose: (id: string, shift: boolean) => void;
  onOpen: (id: string) => void;
  t: TFunction<"jobs">;
  format: Format;
}

// Dozens of these are made in a frame while somebody scrolls: so there is nothing in it that looks around on its own
// (translations, the router) or waits for a pointer (tooltips).
const Row = memo(function Row(props: RowProps) {
  const { job, index, start, size, selected, onChoose, onOpen, t, format } = props;
  const { job_id: id } = job;

  function open(event: MouseEvent<HTMLElement>) {
    const inside = (event.target as HTMLElement).closest("a, input");
    if (inside || window.getSelection()?.isCollapsed === false) return;
    onOpen(id);
  }

  const labels = Object.entries(job.labels).map(([key, value]) => `${key}=${value}`);
  return (
    // biome-ignore-start lint/a11y/useSemanticElements: the rows of a real table cannot be virtual.
    // biome-ignore-start lint/a11y/useFocusableInteractive: the link in the row is.
    // biome-ignore-start lint/a11y/useKeyWithClickEvents: the link in the row does the same.
    <div
      role="row"
      aria-rowindex={index + 2}
      aria-selected={selected}
      className={classes.row}
      style={{ height: size, transform: `translateY(${start}px)` }}
      onClick={open}
    >
      <div role="gridcell" className={classes.check}>
        <input
          type="checkbox"
          className={classes.box}
          aria-label={t("select.one", { id })}
          checked={selected}
          onChange={({ nativeEvent }) =>
            onChoose(id, nativeEvent instanceof MouseEvent && nativeEvent.shiftKey)
          }
        />
      </div>
      <div role="gridcell" className={classes.status}>
        <StatusBadge status={job.status} />
      </div>
      <div role="gridcell" className={classes.idCell}>
        <a href={`#/jobs/${id}`} className={classes.id} title={id}>
          …{id.slice(-8)}
        </a>
      </div>
      <div role="gridcell" className={classes.model}>
        {job.model_name}
      </div>
      <div role="gridcell" className={classes.wide}>
        {job.model_version ?? job.requested_version ?? "–"}
      </div>
      <div role="gridcell" className={classes.when}>
        <Created at={job.created_at} format={format} />
      </div>
      <div role="gridcell" className={`${classes.number} ${classes.took}`}>
        <Duration job={job} format={format} />
      </div>
      <div role="gridcell" className={`${classes.number} ${classes.wide}`}>
        {job.attempt}/{job.max_attempts}
      </div>
      <div role="gridcell" className={`${classes.number} ${classes.wide}`}>
        {job.batch_size ?? "–"}
      </div>
      <div role="gridcell" className={classes.wide} title={labels.join(", ")}>
        {labels.map((label) => (
          <span key={label} className={classes.label}>
            {label}
          </span>
        ))}
      </div>
    </div>
    // biome-ignore-end lint/a11y/useKeyWithClickEvents: the link in the row does the same.
    // biome-ignore-end lint/a11y/useFocusableInteractive: the link in the row is.
    // biome-ignore-end lint/a11y/useSemanticElements: the rows of a real table cannot be virtual.
  );
});

function Created({ at, format }: { at: string; format: Format }) {
  const now = useNow();
  return (
    <time dateTime={at} title={format.moment(at)}>
      {format.ago(Math.min(Date.parse(at), now), now)}
    </time>
  );
}

/** From its start to its end, or to now. */
function Duration({ job, format }: { job: JobSummary; format: Format }) {
  if (job.started_at === null) return "–";
  const started = Date.parse(job.started_at);
  if (job.finished_at !== null) {
    return format.duration(seconds(Date.parse(job.finished_at), started));
  }
  return job.status === "running" ? <Running since={started} format={format} /> : "–";
}

function Running({ since, format }: { since: number; format: Format }) {
  const now = useNow();
  return format.duration(Math.round(seconds(now, since)));
}

function seconds(end: number, start: number): number {
  return Math.max(0, (end - start) / 1000);
}

function LoadError({ error, onRetry }: { error: Error; onRetry: () => void }) {
  const { t } = useTranslation();
  return (
    <span role="alert">
      {useErrorText(error)}{" "}
      <Anchor component="button" type="button" inherit onClick={onRetry}>
        {t("error.retry")}
      </Anchor>
    </span>
  );
}
