import { expect, test } from "vitest";
import { type Clock, type Credentials, type LiveMessage, LiveSocket, type Socket } from "./live";

const JOB = "0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d";

/** A clock that moves only when it is told to. */
class TestClock implements Clock {
  #now = 1_000_000;
  #timers: { at: number; run: () => void }[] = [];

  now = () => this.#now;

  after = (ms: number, run: () => void) => {
    const timer = { at: this.#now + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };

  advance(ms: number) {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = next.at;
      next.run();
    }
    this.#now = end;
  }
}

/** The server's end of a socket. */
class TestSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  sent: unknown[] = [];
  closed = false;

  send(text: string) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.closed = true;
  }
  open() {
    this.onopen?.call(this as unknown as WebSocket, new Event("open"));
  }
  say(message: object) {
    const event = new MessageEvent("message", { data: JSON.stringify(message) });
    this.onmessage?.call(this as unknown as WebSocket, event);
  }
  drop(code = 1006) {
    this.onclose?.call(this as unknown as WebSocket, new CloseEvent("close", { code }));
  }
  take() {
    return this.sent.splice(0);
  }
}

function setUp(credentials?: Credentials) {
  const clock = new TestClock();
  const sockets: TestSocket[] = [];
  const live = new LiveSocket(
    () => {
      const socket = new TestSocket();
      sockets.push(socket);
      return socket;
    },
    clock,
    () => 1,
    credentials,
  );
  live.start();
  const latest = () => {
    const socket = sockets.at(-1);
    if (!socket) throw new Error("nothing was opened");
    return socket;
  };
  return { clock, sockets, live, latest };
}

function listener() {
  const heard: LiveMessage[] = [];
  return Object.assign((message: LiveMessage) => void heard.push(message), { heard });
}

const changes = (id: string) => ({ type: "changes", id, steps: [], more: false });

test("a target is subscribed to once, however many listen, and left with the last", () => {
  const { live, latest } = setUp();
  const [one, two] = [listener(), listener()];
  const leave = live.subscribe({ changes: true }, one);
  expect(latest().take()).toEqual([]);
  latest().open();
  const leaveToo = live.subscribe({ changes: true }, two);
  expect(latest().take()).toEqual([{ subscribe: { changes: true }, ref: "changes" }]);

  latest().say(changes("1-1"));
  expect([one.heard.length, two.heard.length]).toEqual([1, 1]);
  leave();
  leave();
  latest().say(changes("1-2"));
  expect([one.heard.length, two.heard.length]).toEqual([1, 2]);
  expect(latest().take()).toEqual([]);
  leaveToo();
  expect(latest().take()).toEqual([{ unsubscribe: { changes: true } }]);
});

test("a job's steps go to those who watch it, those of a model to those who watch the model", () => {
  const { live, latest } = setUp();
  const [job, model] = [listener(), listener()];
  live.subscribe({ job_id: JOB }, job);
  live.subscribe({ model_name: "m" }, model);
  latest().open();
  const step = { type: "job", job_id: JOB, model_name: "m", status: "running", attempt: 1 };
  latest().say({ ...step, id: "1.1" });
  latest().say({ ...step, id: "7-9" });
  expect(job.heard).toMatchObject([{ id: "1.1" }]);
  expect(model.heard).toMatchObject([{ id: "7-9" }]);
});

test("after a break a subscription goes on after the last that was seen", () => {
  const { clock, live, latest } = setUp();
  live.subscribe({ changes: true }, listener());
  live.subscribe({ overview: true }, listener());
  latest().open();
  latest().say(changes("5-6"));
  latest().drop();
  expect(live.state()).toMatchObject({ status: "waiting", lostAt: clock.now(), failures: 1 });
  clock.advance(500);
  expect(live.state().status).toBe("connecting");
  latest().open();
  expect(latest().take()).toEqual([
    { subscribe: { changes: true, after: "5-6" }, ref: "changes" },
    { subscribe: { overview: true }, ref: "overview" },
  ]);
  expect(live.state()).toMatchObject({ status: "open", lostAt: null });
});

test("where it can no longer go on, the listener is told, and hears what comes from now on", () => {
  const { clock, live, latest } = setUp();
  const heard = listener();
  live.subscribe({ changes: true }, heard);
  latest().open();
  latest().say(changes("5-6"));
  latest().drop();
  clock.advance(500);
  latest().open();
  latest().take();
  latest().say({ type: "problem", status: 410, code: "cursor_expired", subscription: "changes" });
  expect(latest().take()).toEqual([{ subscribe: { changes: true }, ref: "changes" }]);
  expect(heard.heard.at(-1)).toEqual({ type: "gap" });
});

test("a subscription that the server could not serve is asked for again, a wrong one is not", () => {
  const { clock, live, latest } = setUp();
  const wrong = listener();
  live.subscribe({ changes: true }, listener());
  live.subscribe({ model_name: "nobody" }, wrong);
  latest().open();
  latest().take();
  latest().say({ type: "problem", status: 503, code: "unavailable", subscription: "changes" });
  latest().say({ type: "problem", status: 404, code: "model_not_found", ref: "model:nobody" });
  expect(wrong.heard).toMatchObject([{ type: "refused", problem: { status: 404 } }]);
  clock.advance(5_000);
  expect(latest().take()).toEqual([{ subscribe: { changes: true }, ref: "changes" }]);
});

test("attempts come later and later, at least every 15 s", () => {
  const { clock, live, latest, sockets } = setUp();
  const waits: number[] = [];
  for (let n = 0; n < 9; n++) {
    latest().drop();
    const { retryAt } = live.state();
    waits.push((retryAt ?? 0) - clock.now());
    clock.advance((retryAt ?? 0) - clock.now());
  }
  expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 15000, 15000, 15000, 15000]);
  expect(sockets).toHaveLength(10);
  expect(live.state().lostAt).toBe(1_000_000);
});

test("an ingress that leaves (1012) is replaced at once, but not for ever at once", () => {
  const { clock, latest, sockets } = setUp();
  latest().open();
  clock.advance(6_000);
  latest().drop(1012);
  clock.advance(0);
  expect(sockets).toHaveLength(2);
  latest().open();
  latest().drop(1012);
  clock.advance(0);
  expect(sockets).toHaveLength(2);
  clock.advance(1_000);
  expect(sockets).toHaveLength(3);
});

test("a server that asks for patience (1013) gets 5 s of it", () => {
  const { clock, latest, sockets } = setUp();
  latest().open();
  latest().drop(1013);
  clock.advance(4_999);
  expect(sockets).toHaveLength(1);
  clock.advance(1_000);
  expect(sockets).toHaveLength(2);
});

test("a silent server is asked for a sign of life, and given up without one", () => {
  const { clock, live, latest, sockets } = setUp();
  latest().open();
  clock.advance(10_000);
  expect(latest().take()).toMatchObject([{ ping: expect.any(Number) }]);
  latest().say({ type: "pong", ping: 1 });
  clock.advance(19_000);
  expect(live.state().status).toBe("open");
  clock.advance(6_000);
  expect(sockets[0]?.closed).toBe(true);
  expect(sockets).toHaveLength(2);
});

test("the state is the same object until it changes, and hurry() connects at once", () => {
  const { live, latest, sockets } = setUp();
  let changed = 0;
  const leave = live.watch(() => {
    changed += 1;
  });
  expect(live.state()).toBe(live.state());
  latest().drop();
  expect(changed).toBe(1);
  live.hurry();
  expect(sockets).toHaveLength(2);
  live.hurry();
  expect(sockets).toHaveLength(2);
  leave();
  latest().open();
  expect(changed).toBe(2);
});

test("a key is shown first, and where it is refused somebody is told", () => {
  const keys: (string | null)[] = ["sat_k1_x", null];
  let refusals = 0;
  const { clock, live, latest } = setUp({
    key: () => keys.shift() ?? null,
    refused: () => void refusals++,
  });
  live.subscribe({ overview: true }, listener());
  latest().open();
  const subscribe = { subscribe: { overview: true }, ref: "overview" };
  expect(latest().take()).toEqual([{ authenticate: "sat_k1_x" }, subscribe]);
  latest().drop(1006);
  expect(refusals).toBe(0);
  clock.advance(500);
  latest().open();
  expect(latest().take()).toEqual([subscribe]);
  latest().drop(4401);
  expect(refusals).toBe(1);
});

test("once stopped it forgets what went wrong, and starts as if for the first time", () => {
  const { clock, sockets, live, latest } = setUp();
  latest().drop();
  live.stop();
  expect(live.state()).toEqual({ status: "connecting", failures: 0, lostAt: null, retryAt: null });
  clock.advance(60_000);
  expect(sockets.length).toBe(1);
  live.start();
  latest().drop();
  expect(live.state()).toMatchObject({ status: "waiting", failures: 1 });
});
