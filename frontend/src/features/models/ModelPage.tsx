import { Alert, Anchor, Button, Group, Skeleton, Stack, Text } from "@mantine/core";
import { IconPlayerPlay } from "@tabler/icons-react";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { EmptyState } from "@/components/EmptyState";
import { ErrorState } from "@/components/ErrorState";
import { Facts } from "@/components/Facts";
import { JsonView } from "@/components/JsonView";
import { PageTitle } from "@/components/PageTitle";
import { Panel } from "@/components/Panel";
import { Prose } from "@/components/Prose";
import { type LiveModel, useLiveModels } from "./live";
import { ModelFacts } from "./ModelFacts";
import classes from "./ModelPage.module.css";
import { ModelState } from "./ModelState";
import { Schemas } from "./Schemas";
import { Scores } from "./Scores";
import { VersionsPanel } from "./VersionsPanel";

const route = getRouteApi("/models/$name");

/** One model: its deployment, its versions, what it takes and answers. */
export function ModelPage() {
  const { t } = useTranslation("models");
  const { t: common } = useTranslation();
  const name: string = route.useParams({ select: (params: { name: string }) => params.name });
  const { models, error, refetch } = useLiveModels();
  const model = models?.find((each) => each.name === name);
  return (
    <>
      <Anchor component={Link} to="/models" size="sm">
        {t("all")}
      </Anchor>
      <PageTitle title={name}>
        {model && (
          <Group gap="md">
            <ModelState state={model.state} />
            <Button
              renderRoot={(props) => <Link {...props} to="/playground" search={{ model: name }} />}
              size="xs"
              variant="default"
              leftSection={<IconPlayerPlay size={14} aria-hidden />}
            >
              {t("try")}
            </Button>
          </Group>
        )}
      </PageTitle>
      {error && !models && <ErrorState error={error} onRetry={() => void refetch()} />}
      {!models && !error && <Skeleton h={400} role="status" aria-label={common("loading")} />}
      {models && !model && <EmptyState title={t("unknown", { name })} hint={t("unknownHint")} />}
      {model && <Content model={model} />}
    </>
  );
}

function Content({ model }: { model: LiveModel }) {
  const { t } = useTranslation("models");
  return (
    <Stack gap="sm">
      <div>
        <Prose text={model.description} />
      </div>
      {model.message && (
        <Alert color="yellow" variant="light" py={6} px="sm">
          {model.message}
        </Alert>
      )}
      <div className={classes.columns}>
        <Panel title={t("deployment")}>
          <ModelFacts model={model} />
        </Panel>
        <Panel title={t("replicas.title")}>
          {model.placed.length === 0 ? (
            <Text size="sm" c="dimmed">
              {t("replicas.none")}
            </Text>
          ) : (
            <Facts
              facts={model.placed.map(({ replica_id, state, node_id }) => [
                replica_id,
                node_id === null ? state : t("replicas.on", { state, node: node_id.slice(0, 12) }),
              ])}
            />
          )}
        </Panel>
      </div>
      <VersionsPanel name={model.name} />
      <Scores name={model.name} />
      <div className={classes.columns}>
        <Schemas model={model} />
        <Panel title={t("example.title")} note={t("example.note")}>
          <JsonView value={model.example} label={t("example.title")} />
        </Panel>
      </div>
    </Stack>
  );
}
