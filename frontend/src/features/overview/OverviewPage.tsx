import { Alert, Box, Select, Skeleton, Stack } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { type Overview, useOverview } from "@/api/overview";
import { ErrorState } from "@/components/ErrorState";
import { PageTitle } from "@/components/PageTitle";
import { ClusterPanel } from "./ClusterPanel";
import { FirstJob } from "./FirstJob";
import { ModelTable } from "./ModelTable";
import { OverviewCharts } from "./OverviewCharts";
import type { OverviewSearch } from "./search";
import { isIdle, summaryOf } from "./summary";
import { Tiles } from "./Tiles";

const route = getRouteApi("/");

export function OverviewPage() {
  const { t } = useTranslation("overview");
  const model = route.useSearch({ select: (search: OverviewSearch) => search.model });
  const navigate = route.useNavigate();
  const { data, error, refetch } = useOverview();

  const show = (name: string | null) =>
    void navigate({ search: name === null ? {} : { model: name }, replace: true });

  return (
    <>
      <PageTitle title={t("title")}>
        <Select
          aria-label={t("filter.model")}
          placeholder={t("filter.all")}
          data={data ? modelNames(data) : []}
          value={model ?? null}
          onChange={show}
          clearable
          searchable
          size="xs"
          w={220}
          data-search
        />
      </PageTitle>
      {error && !data && <ErrorState error={error} onRetry={() => void refetch()} />}
      {!data && !error && <Loading />}
      {data && <Content overview={data} model={model} onModel={show} />}
    </>
  );
}

interface ContentProps {
  overview: Overview;
  model: string | undefined;
  onModel: (name: string | null) => void;
}

function Content({ overview, model, onModel }: ContentProps) {
  const { t } = useTranslation("overview");
  const names = modelNames(overview);
  const shown = model === undefined ? names : names.filter((name) => name === model);
  const summaries = useMemo(
    () => modelNames(overview).map((name) => summaryOf(overview, name)),
    [overview],
  );
  return (
    <Stack gap="sm">
      {!overview.complete && (
        <Alert color="yellow" variant="light" py={6} px="sm">
          {t("incomplete")}
        </Alert>
      )}
      {isIdle(overview) && <FirstJob />}
      <Tiles
        summaries={summaries.filter(({ name }) => shown.includes(name))}
        cluster={overview.cluster}
      />
      <ModelTable
        summaries={summaries}
        model={model}
        onModel={onModel}
        dashboard={overview.cluster.dashboard_url}
      />
      <OverviewCharts overview={overview} names={names} shown={shown} />
      <ClusterPanel cluster={overview.cluster} model={model} />
    </Stack>
  );
}

function Loading() {
  const { t } = useTranslation();
  return (
    <Box role="status" aria-label={t("loading")}>
      <Skeleton h={72} mb="sm" />
      <Skeleton h={200} mb="sm" />
      <Skeleton h={240} />
    </Box>
  );
}

/** By name, so that a model keeps its place and its colour. */
function modelNames({ history, now }: Overview): string[] {
  return [...new Set([...Object.keys(history.models), ...Object.keys(now.models)])].sort();
}
