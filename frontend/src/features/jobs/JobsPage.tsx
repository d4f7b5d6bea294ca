import { Anchor, Box, Skeleton } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { EmptyState } from "@/components/EmptyState";
import { ErrorState } from "@/components/ErrorState";
import { PageTitle } from "@/components/PageTitle";
import { RouteLink } from "@/components/RouteLink";
import { BulkBar } from "./BulkBar";
import { Filters } from "./Filters";
import { JobTable } from "./JobTable";
import classes from "./jobs.module.css";
import { isFiltered, type JobsSearch } from "./search";
import { NOTHING, type Selection } from "./selection";
import { useJobFeed } from "./useJobFeed";

const route = getRouteApi("/jobs");

export function JobsPage() {
  const { t } = useTranslation("jobs");
  const { t: common } = useTranslation();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const list = useJobFeed(search);
  const [selection, setSelection] = useState<Selection>(NOTHING);

  const key = JSON.stringify(search);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is chosen belongs to the list that is shown.
  useEffect(() => setSelection(NOTHING), [key]);

  const show = (search: JobsSearch) => void navigate({ search, replace: true });
  const { feed, ready, error, jobs } = list;
  // Nothing is done to a job that has left the list: its reader does not see it.
  const shown = useMemo(() => {
    const { ids } = selection;
    if (ids.size === 0) return ids;
    return new Set(jobs.map(({ job_id }) => job_id).filter((id) => ids.has(id)));
  }, [jobs, selection]);
  return (
    <div className={classes.page}>
      <PageTitle title={t("title")}>
        <BulkBar ids={shown} onClear={() => setSelection(NOTHING)} />
      </PageTitle>
      <Filters search={search} onSearch={show} />
      {!ready && error && <ErrorState error={error} onRetry={() => void feed.loadMore()} />}
      {!ready && !error && <Skeleton flex={1} aria-label={common("loading")} />}
      {ready && jobs.length === 0 && (
        <Box className="panel">
          {isFiltered(search) ? (
            <EmptyState title={t("none.title")} hint={t("none.hint")}>
              <Anchor component="button" type="button" size="sm" onClick={() => show({})}>
                {t("filter.clear")}
              </Anchor>
            </EmptyState>
          ) : (
            <EmptyState title={t("empty.title")} hint={t("empty.hint")}>
              <RouteLink to="/playground" size="sm">
                {common("nav.playground")}
              </RouteLink>
            </EmptyState>
          )}
        </Box>
      )}
      {ready && jobs.length > 0 && (
        <JobTable key={key} {...list} selection={selection} onSelection={setSelection} />
      )}
    </div>
  );
}
