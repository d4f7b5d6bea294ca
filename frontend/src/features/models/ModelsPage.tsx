import { Anchor, Group, SimpleGrid, Skeleton, Stack, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { EmptyState } from "@/components/EmptyState";
import { ErrorState } from "@/components/ErrorState";
import { PageTitle } from "@/components/PageTitle";
import { Panel } from "@/components/Panel";
import { Prose } from "@/components/Prose";
import { type LiveModel, useLiveModels } from "./live";
import { ModelFacts } from "./ModelFacts";
import { ModelState } from "./ModelState";

/** All models, as they are deployed. */
export function ModelsPage() {
  const { t } = useTranslation("models");
  const { t: common } = useTranslation();
  const { models, error, refetch } = useLiveModels();
  return (
    <>
      <PageTitle title={t("title")} />
      {error && !models && <ErrorState error={error} onRetry={() => void refetch()} />}
      {!models && !error && <Skeleton h={400} role="status" aria-label={common("loading")} />}
      {models?.length === 0 && <EmptyState title={t("none")} hint={t("noneHint")} />}
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="sm" verticalSpacing="sm">
        {models?.map((model) => (
          <ModelCard key={model.name} model={model} />
        ))}
      </SimpleGrid>
    </>
  );
}

function ModelCard({ model }: { model: LiveModel }) {
  const { t } = useTranslation("models");
  const { name } = model;
  return (
    <Panel title={name} actions={<ModelState state={model.state} />}>
      <Stack gap="xs">
        <Prose text={model.description} first />
        {model.message && (
          <Text size="sm" c="var(--status-warn)">
            {model.message}
          </Text>
        )}
        <ModelFacts model={model} />
        <Group gap="md" mt={2}>
          <Anchor
            size="sm"
            renderRoot={(props) => <Link {...props} to="/models/$name" params={{ name }} />}
          >
            {t("details")} <span className="visually-hidden">{name}</span>
          </Anchor>
          <Anchor
            size="sm"
            renderRoot={(props) => <Link {...props} to="/playground" search={{ model: name }} />}
          >
            {t("try")} <span className="visually-hidden">{name}</span>
          </Anchor>
        </Group>
      </Stack>
    </Panel>
  );
}
