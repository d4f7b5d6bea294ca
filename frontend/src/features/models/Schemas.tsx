import { Stack, Table, Tabs, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { ModelInfo } from "@/api/models";
import { JsonView } from "@/components/JsonView";
import { Panel } from "@/components/Panel";
import { boundsText, isObject, type Schema, typeText } from "@/components/schema";
import classes from "./tables.module.css";

/** What a model takes and answers. */
export function Schemas({ model }: { model: ModelInfo }) {
  const { t } = useTranslation("models");
  const schemas = {
    input: model.input_schema,
    config: model.config_schema,
    output: model.output_schema,
  };
  return (
    <Panel title={t("schemas.title")}>
      <Tabs defaultValue="input" keepMounted={false}>
        <Tabs.List>
          {(["input", "config", "output"] as const).map((name) => (
            <Tabs.Tab key={name} value={name}>
              {t(`schemas.${name}`)}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {Object.entries(schemas).map(([name, schema]) => (
          <Tabs.Panel key={name} value={name} pt="xs">
            <SchemaView schema={schema} />
          </Tabs.Panel>
        ))}
      </Tabs>
    </Panel>
  );
}

function SchemaView({ schema }: { schema: Schema }) {
  const { t } = useTranslation("models");
  const properties = isObject(schema.properties) ? Object.entries(schema.properties) : null;
  const required = Array.isArray(schema.required) ? schema.required : [];
  return (
    <Stack gap="xs">
      {typeof schema.description === "string" && <Text size="sm">{schema.description}</Text>}
      {properties ? (
        <Table.ScrollContainer minWidth={520} type="native">
          <Table className={classes.table}>
            <Table.Thead>
              <Table.Tr>
                {(["name", "type", "default", "meaning"] as const).map((head) => (
                  <Table.Th key={head} scope="col">
                    {t(`schemas.${head}`)}
                  </Table.Th>
                ))}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {properties.map(([name, found]) => {
                const property = isObject(found) ? found : {};
                return (
                  <Table.Tr key={name}>
                    <Table.Th scope="row" className={classes.code}>
                      {name}
                    </Table.Th>
                    <Table.Td>
                      <TypeOf schema={property} root={schema} />
                    </Table.Td>
                    <Table.Td className={classes.code}>
                      {"default" in property
                        ? JSON.stringify(property.default)
                        : required.includes(name)
                          ? t("schemas.required")
                          : "–"}
                    </Table.Td>
                    <Table.Td>
                      {typeof property.description === "string" ? property.description : ""}
                    </Table.Td>
                  </Table.Tr>
                );
              })}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      ) : (
        <TypeOf schema={schema} root={schema} />
      )}
      <details className={classes.raw}>
        <summary>{t("schemas.raw")}</summary>
        <JsonView value={schema} />
      </details>
    </Stack>
  );
}

function TypeOf({ schema, root }: { schema: Schema; root: Schema }) {
  return (
    <>
      <div className={classes.code}>{typeText(schema, root)}</div>
      <Text size="xs" c="dimmed" className="numbers">
        {boundsText(schema, root)}
      </Text>
    </>
  );
}
