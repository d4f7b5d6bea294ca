import { Anchor, Box } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { pageUrl } from "@/api/client";
import { useKeyHeader } from "@/api/me";
import { useModels } from "@/api/models";
import { CodeLine } from "@/components/CodeLine";
import { EmptyState } from "@/components/EmptyState";

const FALLBACK = {
  model_name: "moving_average",
  data: [1, 2, 3, 4],
  config: { forecast_steps: 2 },
};

/** How to get something to look at: a command for the first model's own example. */
export function FirstJob() {
  const { t } = useTranslation("overview");
  const { t: common } = useTranslation();
  const { data: models } = useModels();
  const keyHeader = useKeyHeader();
  const example = shortest(models?.map((model) => model.example)) ?? FALLBACK;
  const command = [
    `curl -X POST ${pageUrl("api/v1/inference/submit").href}`,
    ...(keyHeader === null ? [] : [`  ${keyHeader}`]),
    "  -H 'Content-Type: application/json'",
    `  -d '${JSON.stringify(example).replaceAll("'", "'\\''")}'`,
  ].join(" \\\n");
  return (
    <Box className="panel">
      <EmptyState title={t("empty.title")} hint={t("empty.hint")}>
        <CodeLine value={command} />
        <Anchor component={Link} to="/playground" size="sm">
          {common("nav.playground")}
        </Anchor>
      </EmptyState>
    </Box>
  );
}

/** The example that is the least to read. */
function shortest(examples: readonly object[] | undefined): object | undefined {
  return [...(examples ?? [])].sort(
    (a, b) => JSON.stringify(a).length - JSON.stringify(b).length,
  )[0];
}
