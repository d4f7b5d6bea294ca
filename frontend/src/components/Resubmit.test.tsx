import { fireEvent, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import { renderPart } from "@/test/render";
import { Resubmit } from "./Resubmit";

const ID = "0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d";
const JOB = {
  job_id: ID,
  data: [1, 2, 3, 4],
  config: { forecast_steps: 2 },
  requested_version: null,
  priority: 4,
  labels: { site: "north" },
  max_attempts: 3,
};
const REFUSED = {
  type: "urn:satellite:problem:invalid_request",
  title: "The request does not validate",
  status: 422,
  detail: "it does not validate",
  code: "invalid_request",
  request_id: null,
  errors: [{ pointer: "/config/forecast_steps", detail: "Input should be 1 or more" }],
};

/** Answers each POST with the next of these. */
function serve(...answers: Response[]) {
  const sent: unknown[] = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    if (request.method === "GET") return Response.json(JOB);
    sent.push(await request.json());
    return answers.shift() ?? Response.error();
  });
  return sent;
}

test("what the API refuses is shown at its line until it is changed, what it takes is handed on", async () => {
  const sent = serve(
    Response.json(REFUSED, { status: 422 }),
    Response.json({ job_id: "new" }, { status: 202 }),
  );
  const onAccepted = vi.fn();
  await renderPart(<Resubmit jobId={ID} onClose={() => {}} onAccepted={onAccepted} />);
  const editor = await screen.findByRole<HTMLTextAreaElement>("textbox");
  expect(JSON.parse(editor.value)).toEqual({
    data: [1, 2, 3, 4],
    config: { forecast_steps: 2 },
    priority: 4,
    labels: { site: "north" },
    max_attempts: 3,
  });

  fireEvent.change(editor, { target: { value: '{\n"config": {\n"forecast_steps": 0}}' } });
  await userEvent.click(screen.getByRole("button", { name: "Submit" }));
  expect(await screen.findByText(/forecast_steps: Input should be 1 or more/)).toBeVisible();
  await userEvent.click(screen.getByRole("button", { name: "Line 3:" }));
  expect(editor.selectionStart).toBe(editor.value.indexOf("0}"));
  expect(onAccepted).not.toHaveBeenCalled();

  fireEvent.change(editor, { target: { value: '{"data": [1, 2' } });
  expect(screen.queryByText(/Input should be/)).toBeNull();
  expect(screen.getByText(/not JSON/)).toBeVisible();
  expect(screen.getByRole("button", { name: "Submit" })).toBeDisabled();

  fireEvent.change(editor, { target: { value: '{"data": [1, 2, 3, 4, 5]}' } });
  await userEvent.click(screen.getByRole("button", { name: "Submit" }));
  await vi.waitFor(() => expect(onAccepted).toHaveBeenCalled());
  expect(sent).toEqual([{ config: { forecast_steps: 0 } }, { data: [1, 2, 3, 4, 5] }]);
});
