import { expect, test } from "vitest";
import type { ModelInfo } from "@/api/models";
import type { Overview } from "@/api/overview";
import { paragraphs } from "@/components/Prose";
import { rollbackTo } from "./history";
import { withOverview } from "./live";
import { scoresOf } from "./metrics";

const MODEL = { name: "m", waiting: 1, replicas: { RUNNING: 1 } } as unknown as ModelInfo;

test("a model's replicas and queue are those of the live overview, once there is one", () => {
  const replica = { model_name: "m", node_id: "n", state: "RUNNING" };
  const overview = {
    cluster: {
      replicas: [
        { ...replica, replica_id: "a" },
        { ...replica, replica_id: "b", state: "STARTING" },
        { ...replica, replica_id: "c", model_name: "other" },
      ],
    },
    now: { models: { m: { waiting: 7 } } },
  } as unknown as Overview;
  expect(withOverview(MODEL, overview)).toMatchObject({
    waiting: 7,
    replicas: { RUNNING: 1, STARTING: 1 },
    placed: [{ replica_id: "a" }, { replica_id: "b" }],
  });
  expect(withOverview(MODEL, undefined)).toMatchObject({ waiting: 1, replicas: { RUNNING: 1 } });
});

test("scores of any depth become numbers, rows and tables", () => {
  expect(
    scoresOf({
      mase: 0.5,
      Hourly: { model: { smape: 8, mase: 0.7 }, naive: { smape: 14, owa: 1 } },
      Weekly: { mase: 2 },
      note: "by hand",
    }),
  ).toEqual({
    single: [["mase", 0.5]],
    tables: [
      { title: "", columns: ["mase"], rows: [{ name: "Weekly", values: [2] }] },
      {
        title: "Hourly",
        columns: ["smape", "mase", "owa"],
        rows: [
          { name: "model", values: [8, 0.7, null] },
          { name: "naive", values: [14, null, 1] },
        ],
      },
    ],
    rest: { note: "by hand" },
  });
});

test("a roll back skips what was undone before", () => {
  const change = (version: string, undone_at: string | null) => ({
    version,
    set_at: version,
    undone_at,
  });
  expect(rollbackTo([change("4", "t"), change("3", null), change("2", null)])).toBe("2");
  expect(rollbackTo([change("3", null), change("2", "t")])).toBeNull();
  expect(rollbackTo([])).toBeNull();
});

test("lines that were broken for an editor are joined", () => {
  expect(paragraphs("One\n  line.\n\nTwo.\n")).toEqual(["One line.", "Two."]);
});
