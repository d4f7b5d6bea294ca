import { Anchor, Group, Select, Skeleton } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { Mode } from "@/api/inference";
import { useModels } from "@/api/models";
import { EmptyState } from "@/components/EmptyState";
import { ErrorState } from "@/components/ErrorState";
import { PageTitle } from "@/components/PageTitle";
import { Prose } from "@/components/Prose";
import { Playground } from "./Playground";
import type { PlaygroundSearch } from "./search";

const route = getRouteApi("/playground");

/** Try a model: give it data, see its answer, take the call along. */
export function PlaygroundPage() {
  const { t } = useTranslation("playground");
  const { t: common } = useTranslation();
  const wanted = route.useSearch({ select: (search: PlaygroundSearch) => search.model });
  const navigate = route.useNavigate();
  const { data: models, error, refetch } = useModels();
  const [mode, setMode] = useState<Mode>("predict");
  // The same series for one model after the other.
  const [series, setSeries] = useState<string | null>(null);
  const model = models?.find(({ name }) => name === (wanted ?? models[0]?.name));

  return (
    <>
      <PageTitle title={t("title")}>
        <Select
          aria-label={t("model")}
          placeholder={t("model")}
          data={models?.map(({ name }) => name) ?? []}
          value={model?.name ?? null}
          onChange={(name) => void navigate({ search: name === null ? {} : { model: name } })}
          searchable
          allowDeselect={false}
          size="xs"
          w={220}
          data-search
        />
      </PageTitle>
      {error && !models && <ErrorState error={error} onRetry={() => void refetch()} />}
      {!models && !error && <Skeleton h={400} role="status" aria-label={common("loading")} />}
      {models && !model && (
        <EmptyState
          title={wanted === undefined ? t("noModels") : t("noModel", { name: wanted })}
          hint={t("chooseModel")}
        />
      )}
      {model && (
        <>
          <Group gap="sm" mb="sm" wrap="wrap">
            <Prose text={model.description} first />
            <Anchor
              size="sm"
              renderRoot={(props) => (
                <Link {...props} to="/models/$name" params={{ name: model.name }} />
              )}
            >
              {t("aboutModel")}
            </Anchor>
          </Group>
          {/* Another model has other settings: its form begins anew. */}
          <Playground
            key={model.name}
            model={model}
            mode={mode}
            onMode={setMode}
            series={series}
            onSeries={setSeries}
          />
        </>
      )}
    </>
  );
}
