import { Group, Table, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { useMay } from "@/api/me";
import type { ClusterInfo } from "@/api/overview";
import { EmptyState } from "@/components/EmptyState";
import { Panel } from "@/components/Panel";
import { useFormat } from "@/i18n/format";
import { Meter } from "./Meter";
import { RayLink } from "./RayLink";
import { rayNode, rayReplica } from "./ray";
import classes from "./tables.module.css";

interface ClusterPanelProps {
  cluster: ClusterInfo;
  /** Only this model's replicas. */
  model: string | undefined;
}

/** The machines, and what runs on them, for those to whom the API shows them. */
export function ClusterPanel({ cluster, model }: ClusterPanelProps) {
  if (!useMay("admin")) return null;
  return (
    <>
      <Nodes cluster={cluster} />
      <Replicas cluster={cluster} model={model} />
    </>
  );
}

function Nodes({ cluster }: { cluster: ClusterInfo }) {
  const { t } = useTranslation("overview");
  const { nodes, replicas, dashboard_url: dashboard } = cluster;
  const format = useFormat();
  return (
    <Panel title={t("cluster.title")} note={t("cluster.ingresses", { count: cluster.ingresses })}>
      {nodes.length === 0 ? (
        <EmptyState title={t("cluster.none")} />
      ) : (
        <Table.ScrollContainer minWidth={760} type="native">
          <Table className={classes.table}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">{t("cluster.node")}</Table.Th>
                <Table.Th scope="col">{t("cluster.cpu")}</Table.Th>
                <Table.Th scope="col">{t("cluster.memory")}</Table.Th>
                <Table.Th scope="col">{t("cluster.gpu")}</Table.Th>
                <Table.Th scope="col" className={classes.number}>
                  {t("cluster.replicas")}
                </Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {nodes.map((node) => (
                <Table.Tr key={node.node_id}>
                  <Table.Th scope="row" fw={500}>
                    <Group gap={8} wrap="nowrap">
                      <RayLink
                        href={dashboard && rayNode(dashboard, node.node_id)}
                        what={node.address}
                      >
                        {node.address}
                      </RayLink>
                      {node.head && (
                        <Text span size="xs" c="dimmed" fw={400}>
                          {t("cluster.head")}
                        </Text>
                      )}
                      {!node.alive && (
                        <Text span size="xs" c="var(--status-bad)">
                          {t("cluster.lost")}
                        </Text>
                      )}
                    </Group>
                  </Table.Th>
                  <Table.Td>
                    <Meter
                      label={t("cluster.cpu")}
                      percent={node.cpu_percent}
                      note={node.cpus === null ? "" : t("cluster.cores", { count: node.cpus })}
                    />
                  </Table.Td>
                  <Table.Td>
                    <Memory
                      label={t("cluster.memory")}
                      used={node.memory_used_bytes}
                      total={node.memory_total_bytes}
                    />
                  </Table.Td>
                  <Table.Td>
                    {node.gpus.length === 0 && (
                      <Text span inherit c="dimmed">
                        {t("cluster.noGpu")}
                      </Text>
                    )}
                    {node.gpus.map((gpu, index) => (
                      // biome-ignore lint/suspicious/noArrayIndexKey: a GPU has no other name of its own.
                      <div key={index}>
                        <Text size="xs" c="dimmed">
                          {gpu.name}
                        </Text>
                        <Group gap="md" wrap="nowrap">
                          <Meter
                            label={`${t("cluster.gpu")} ${index}`}
                            percent={gpu.utilization_percent}
                          />
                          <Memory
                            label={`${t("cluster.gpu")} ${index} ${t("cluster.memory")}`}
                            used={gpu.memory_used_bytes}
                            total={gpu.memory_total_bytes}
                          />
                        </Group>
                      </div>
                    ))}
                  </Table.Td>
                  <Table.Td className={classes.number}>
                    {format.number(
                      replicas.filter(({ node_id }) => node_id === node.node_id).length,
                    )}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </Panel>
  );
}

interface MemoryProps {
  label: string;
  used: number | null;
  total: number | null;
}

function Memory({ label, used, total }: MemoryProps) {
  const { t } = useTranslation("overview");
  const format = useFormat();
  const known = used !== null && total !== null && total > 0;
  return (
    <Meter
      label={label}
      percent={known ? (100 * used) / total : null}
      note={
        known ? t("cluster.ofTotal", { used: format.bytes(used), total: format.bytes(total) }) : ""
      }
    />
  );
}

function Replicas({ cluster, model }: ClusterPanelProps) {
  const { t } = useTranslation("overview");
  const { dashboard_url: dashboard } = cluster;
  const address = new Map(cluster.nodes.map((node) => [node.node_id, node.address]));
  const shown = cluster.replicas.filter(
    ({ model_name }) => model === undefined || model === model_name,
  );
  return (
    <Panel title={t("cluster.replicasTitle")}>
      {shown.length === 0 ? (
        <EmptyState title={t("cluster.noReplicas")} />
      ) : (
        <Table.ScrollContainer minWidth={480} maxHeight={320} type="native">
          <Table className={classes.table} stickyHeader>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">{t("models.model")}</Table.Th>
                <Table.Th scope="col">{t("cluster.replica")}</Table.Th>
                <Table.Th scope="col">{t("cluster.state")}</Table.Th>
                <Table.Th scope="col">{t("cluster.node")}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {shown.map(({ model_name, replica_id, state, node_id }) => (
                <Table.Tr key={replica_id}>
                  <Table.Td>{model_name}</Table.Td>
                  <Table.Td ff="monospace" fz="xs">
                    <RayLink
                      href={dashboard && rayReplica(dashboard, model_name, replica_id)}
                      what={replica_id}
                    >
                      {replica_id}
                    </RayLink>
                  </Table.Td>
                  <Table.Td
                    c={state === "RUNNING" ? "var(--status-good)" : "var(--status-warn)"}
                    fw={500}
                  >
                    {state}
                  </Table.Td>
                  <Table.Td>{(node_id && (address.get(node_id) ?? node_id)) || "–"}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </Panel>
  );
}
