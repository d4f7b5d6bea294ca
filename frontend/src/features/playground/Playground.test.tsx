import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, expect, test, vi } from "vitest";
import type { Mode } from "@/api/inference";
import type { ModelInfo } from "@/api/models";
import { renderPart } from "@/test/render";
import { Playground } from "./Playground";

const MODEL = {
  name: "tagger",
  version: "1.0.0",
  versions: ["1.0.0"],
  input_schema: { type: "object" },
  config_schema: {
    properties: {
      top: { type: "integer", minimum: 1, default: 3, description: "How many tags." },
      mode: { type: "string", enum: ["fast", "good"], default: "fast" },
    },
  },
  example: { model_name: "tagger", data: { text: "it's" }, config: { top: 2 } },
} as unknown as ModelInfo;

const sent = vi.fn(async (_request: Request): Promise<Response> => new Response());

beforeEach(() => {
  sent.mockReset();
  vi.stubGlobal("fetch", sent);
});

const show = (mode: Mode = "predict") =>
  renderPart(
    <Playground model={MODEL} mode={mode} onMode={() => {}} series={null} onSeries={() => {}} />,
  );

const code = () => within(screen.getByRole("tabpanel")).getByText(/tagger/).textContent;

test("the code follows the form", async () => {
  await show();
  expect(code()).toContain(
    `'{"model_name":"tagger","data":{"text":"it'\\''s"},"config":{"top":2}}'`,
  );
  await userEvent.clear(screen.getByLabelText("top"));
  await userEvent.selectOptions(screen.getByLabelText("mode"), "good");
  expect(code()).toContain('"config":{"mode":"good"}}');
  await userEvent.click(screen.getByRole("tab", { name: "Python" }));
  expect(code()).toContain('client.predict(\n        "tagger",\n        {"text": "it\'s"},');
});

test("nothing is sent while something is wrong, and the field says what", async () => {
  await show();
  await userEvent.type(screen.getByLabelText("top"), "{Backspace}0");
  fireEvent.change(screen.getByLabelText("Data as JSON"), { target: { value: "{" } });
  await userEvent.click(screen.getByRole("button", { name: "Predict" }));
  expect(screen.getByText("At least 1")).toBeVisible();
  expect(screen.getByText("Not JSON")).toBeVisible();
  expect(sent).not.toHaveBeenCalled();
});

test("what the API refuses stands at its field, until the form changes", async () => {
  const problem = {
    type: "urn:satellite:problem:invalid_request",
    title: "Invalid request",
    status: 422,
    detail: "the request does not fit",
    code: "invalid_request",
    request_id: "r",
    errors: [{ pointer: "/config/top", detail: "more than there are" }],
  };
  sent.mockResolvedValue(Response.json(problem, { status: 422 }));
  await show();
  await userEvent.click(screen.getByRole("button", { name: "Predict" }));
  expect(await screen.findByText("more than there are")).toBeVisible();
  expect(screen.getByLabelText("top")).toHaveAccessibleDescription(/more than there are/);
  await userEvent.type(screen.getByLabelText("top"), "1");
  expect(screen.queryByText("more than there are")).toBeNull();
});

test("a predict shows its answer and how long it took", async () => {
  const at = (ms: number) => new Date(ms).toISOString();
  const times = { created_at: at(0), started_at: at(4), finished_at: at(34) };
  const result = { status: "succeeded", model_version: "1.0.0", result: { tags: ["a"] } };
  sent.mockResolvedValue(Response.json({ ...result, ...times, error: null }));
  await show();
  await userEvent.click(screen.getByRole("button", { name: "Predict" }));
  expect(await screen.findByText(/"tags": \["a"\]/)).toBeVisible();
  expect(screen.getByText("30 ms")).toBeVisible();
  await waitFor(() => expect(sent).toHaveBeenCalledOnce());
  const request = sent.mock.calls[0]?.[0];
  expect(await request?.clone().json()).toEqual({
    model_name: "tagger",
    data: { text: "it's" },
    config: { top: 2 },
  });
});
