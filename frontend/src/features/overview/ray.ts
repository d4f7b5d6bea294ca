/** Addresses in the Ray dashboard, whose own place is in the fragment, too. */
const at = (dashboard: string, ...parts: string[]) =>
  `${dashboard.replace(/\/$/, "")}/#/${parts.map(encodeURIComponent).join("/")}`;

/** The Serve application that `serve_config.yaml` names. */
const APPLICATION = "satellite";

export const rayNode = (dashboard: string, nodeId: string) =>
  at(dashboard, "cluster", "nodes", nodeId);

export const rayDeployment = (dashboard: string, model: string) =>
  at(dashboard, "serve", "applications", APPLICATION, model);

export const rayReplica = (dashboard: string, model: string, replicaId: string) =>
  at(dashboard, "serve", "applications", APPLICATION, model, replicaId);
