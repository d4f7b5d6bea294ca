import { act, screen } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import type { Schemas } from "@/api/client";
import { LiveSocket, type Socket } from "@/api/live";
import { renderPart, silentSocket } from "@/test/render";
import { JobAnswer } from "./JobAnswer";

const JOB = "0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d";
const at = (ms: number) => new Date(ms).toISOString();
const accepted = { job_id: JOB, status: "queued", created_at: at(0) } as Schemas["Accepted"];
const underWay = { job_id: JOB, status: "queued", finished_at: null, result: null, error: null };
const ended = {
  ...underWay,
  status: "succeeded",
  attempt: 1,
  finished_at: at(2040),
  result: { tags: ["a"] },
};

/** The API: a job, and nothing else. */
function answerWith(job: object) {
  vi.stubGlobal("fetch", async ({ url }: Request) =>
    url.includes(`/result/${JOB}`) ? Response.json(job) : Response.json({}, { status: 404 }),
  );
}

const shownSteps = () => screen.getAllByRole("listitem").map(({ textContent }) => textContent);

test("a job's states arrive over the socket, and with the last one its result", async () => {
  answerWith(underWay);
  const socket: Socket = silentSocket();
  const send = vi.spyOn(socket, "send");
  const live = new LiveSocket(() => socket);
  live.start();
  await renderPart(<JobAnswer accepted={accepted} data={{}} />, { live });
  await act(async () => socket.onopen?.call(socket as WebSocket, new Event("open")));
  expect(send).toHaveBeenCalledWith(expect.stringContaining(JOB));
  expect(shownSteps()).toEqual(["queued+0 s"]);

  const step = { type: "job", job_id: JOB, model_name: "m", attempt: 1, job: null };
  const say = (message: object) =>
    act(async () => {
      const event = new MessageEvent("message", { data: JSON.stringify(message) });
      socket.onmessage?.call(socket as WebSocket, event);
    });
  await say({ ...step, id: "1", status: "queued", at: at(0) });
  await say({ ...step, id: "2", status: "running", at: at(2000) });
  await say({ ...step, id: "2", status: "running", at: at(2000) });
  expect(shownSteps()).toEqual(["queued+0 s", "→running+2 s"]);
  await say({ ...step, id: "3", status: "succeeded", at: at(2040), job: ended });
  expect(shownSteps()).toEqual(["queued+0 s", "→running+2 s", "→succeeded+2.04 s"]);
  expect(screen.getByText(/"tags": \["a"\]/)).toBeVisible();
  live.stop();
});

test("without the socket the job itself tells how it ended", async () => {
  answerWith(ended);
  await renderPart(<JobAnswer accepted={accepted} data={{}} />);
  expect(await screen.findByText(/"tags": \["a"\]/)).toBeVisible();
  expect(shownSteps()).toEqual(["queued+0 s", "→succeeded+2.04 s"]);
  expect(screen.getByRole("link", { name: "Open the job" })).toHaveAttribute(
    "href",
    `#/jobs/${JOB}`,
  );
});
