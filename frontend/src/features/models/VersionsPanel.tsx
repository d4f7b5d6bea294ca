import { Badge, Button, Group, Modal, Table, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useVersionAction, useVersions, type Version, type VersionAction } from "@/api/models";
import { ErrorState } from "@/components/ErrorState";
import { Needs } from "@/components/Needs";
import { Panel } from "@/components/Panel";
import { TimeAgo } from "@/components/TimeAgo";
import { useFormat } from "@/i18n/format";
import { rollbackTo } from "./history";
import classes from "./tables.module.css";

/** A model's versions: what they are, where they are loaded, and which one answers where none is named. */
export function VersionsPanel({ name }: { name: string }) {
  const { t } = useTranslation("models");
  const { t: common } = useTranslation();
  const { data: versions, error, refetch } = useVersions(name);
  const action = useVersionAction(name);
  const [asked, setAsked] = useState<VersionAction | null>(null);

  function act(what: VersionAction) {
    setAsked(null);
    action.mutate(what, {
      onSuccess: () => {
        const message = t(`done.${what.do}`, { version: what.version ?? "" });
        notifications.show({ message, color: "green" });
      },
    });
  }

  if (!versions) {
    return (
      <Panel title={t("versions.title")}>
        {error ? <ErrorState error={error} onRetry={() => void refetch()} /> : common("loading")}
      </Panel>
    );
  }
  const canGoBack = versions.history.some(({ undone_at }) => undone_at === null);
  const before = rollbackTo(versions.history);
  return (
    <Panel
      title={t("versions.title")}
      actions={
        canGoBack && (
          <Needs scope="admin">
            <Button
              variant="default"
              size="compact-sm"
              loading={action.isPending && action.variables.do === "rollback"}
              onClick={() => setAsked({ do: "rollback", version: null })}
            >
              {t("actions.rollback")}
            </Button>
          </Needs>
        )
      }
    >
      {action.error && <ErrorState error={action.error} title={t("versions.refused")} />}
      <Table.ScrollContainer minWidth={760} type="native">
        <Table className={classes.table}>
          <Table.Thead>
            <Table.Tr>
              {(["version", "created", "size", "format", "loaded"] as const).map((head) => (
                <Table.Th
                  key={head}
                  scope="col"
                  className={head === "size" ? (classes.number ?? "") : ""}
                >
                  {t(`versions.${head}`)}
                </Table.Th>
              ))}
              <Table.Th scope="col">
                <span className="visually-hidden">{t("versions.actions")}</span>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {versions.versions.toReversed().map((version) => (
              <VersionRow
                key={version.version}
                version={version}
                pending={
                  action.isPending && action.variables.version === version.version
                    ? action.variables.do
                    : null
                }
                onAct={(what) =>
                  what === "default"
                    ? setAsked({ do: what, version: version.version })
                    : act({ do: what, version: version.version })
                }
              />
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      <History name={name} />
      <Modal
        opened={asked !== null}
        onClose={() => setAsked(null)}
        title={asked ? t(`confirm.${asked.do === "rollback" ? "rollback" : "default"}`) : ""}
      >
        <Text size="sm">
          {asked?.do === "default"
            ? t("confirm.defaultText", { version: asked.version, now: versions.default })
            : t(before === null ? "confirm.rollbackText" : "confirm.rollbackTo", {
                version: before ?? "",
                now: versions.default,
              })}
        </Text>
        <Group justify="flex-end" mt="md" gap="sm">
          <Button variant="default" onClick={() => setAsked(null)}>
            {t("confirm.no")}
          </Button>
          <Button onClick={() => asked && act(asked)} data-autofocus>
            {asked && t(`actions.${asked.do}`)}
          </Button>
        </Group>
      </Modal>
    </Panel>
  );
}

type RowAction = "load" | "unload" | "default";

interface VersionRowProps {
  version: Version;
  pending: VersionAction["do"] | null;
  onAct: (what: RowAction) => void;
}

function VersionRow({ version, pending, onAct }: VersionRowProps) {
  const { t } = useTranslation("models");
  const format = useFormat();
  const { version: name, created, size_bytes, loaded_in, problem } = version;
  const button = (what: RowAction) => (
    <Needs key={what} scope="admin">
      <Button
        variant="default"
        size="compact-xs"
        loading={pending === what}
        disabled={pending !== null && pending !== what}
        aria-label={`${t(`actions.${what}`)}: ${name}`}
        onClick={() => onAct(what)}
      >
        {t(`actions.${what}`)}
      </Button>
    </Needs>
  );
  return (
    <Table.Tr>
      <Table.Th scope="row" fw={500}>
        {name}{" "}
        {version.default && (
          <Badge variant="light" size="sm" tt="none" component="span">
            {t("versions.default")}
          </Badge>
        )}
        {problem && (
          <Text size="xs" c="var(--status-bad)" maw={320}>
            {problem}
          </Text>
        )}
      </Table.Th>
      <Table.Td>{created ? <TimeAgo at={created} /> : "–"}</Table.Td>
      <Table.Td className={classes.number}>
        {size_bytes === null ? "–" : format.bytes(size_bytes)}
      </Table.Td>
      <Table.Td>{version.format ?? "–"}</Table.Td>
      <Table.Td>
        {loaded_in.length === 0 ? (
          <Text inherit c="dimmed">
            {t("versions.notLoaded")}
          </Text>
        ) : (
          loaded_in.map((replica) => (
            <Text key={replica} size="xs" ff="monospace">
              {replica}
            </Text>
          ))
        )}
      </Table.Td>
      <Table.Td>
        {version.format !== null && (
          <Group gap={6} wrap="nowrap" justify="flex-end">
            {button("load")}
            {!version.default && loaded_in.length > 0 && button("unload")}
            {!version.default && button("default")}
          </Group>
        )}
      </Table.Td>
    </Table.Tr>
  );
}

/** The last changes of the default. */
function History({ name }: { name: string }) {
  const { t } = useTranslation("models");
  const { data: versions } = useVersions(name);
  if (!versions || versions.history.length === 0) return null;
  return (
    <>
      <Text size="sm" fw={600} mt="xs" mb={4}>
        {t("history.title")}
      </Text>
      <ol style={{ margin: 0, paddingInlineStart: 0, listStyle: "none" }}>
        {versions.history.map(({ version, set_at, undone_at }) => (
          <Text component="li" size="sm" key={set_at}>
            {version}{" "}
            <Text span inherit c="dimmed">
              {t("history.set")} <TimeAgo at={set_at} />
              {undone_at && (
                <>
                  , {t("history.undone")} <TimeAgo at={undone_at} />
                </>
              )}
            </Text>
          </Text>
        ))}
      </ol>
    </>
  );
}
