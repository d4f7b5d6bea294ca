import type { Problem, Schemas } from "./client";

/** What can be subscribed to. */
export type Target =
  | { job_id: string }
  | { model_name: string }
  | { overview: true }
  | { changes: true };

export type JobMessage = Schemas["WsJob"];
export type ModelMessage = Schemas["WsModel"];
export type OverviewMessage = Schemas["WsOverview"];
export type ChangesMessage = Schemas["WsChanges"];

/** What a subscriber is given. */
export type LiveMessage =
  | JobMessage
  | ModelMessage
  | OverviewMessage
  | ChangesMessage
  /** Messages were missed that are no longer kept: read everything again. */
  | { type: "gap" }
  /** The subscription was refused, and is not tried again. */
  | { type: "refused"; problem: Problem };

export type Listener = (message: LiveMessage) => void;

export interface LiveState {
  /** `waiting`: the connection was lost, and the next attempt comes at `retryAt`. */
  readonly status: "connecting" | "open" | "waiting";
  /** How many attempts in a row have failed. */
  readonly failures: number;
  /** Since when nothing arrives, in ms since 1970; null: something does, or the first attempt goes on. */
  readonly lostAt: number | null;
  /** When the next attempt comes, in ms since 1970. */
  readonly retryAt: number | null;
}

/** As much of a browser's WebSocket as is used. */
export type Socket = Pick<WebSocket, "onopen" | "onmessage" | "onclose" | "send" | "close">;

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  after(ms: number, run: () => void): () => void;
}

const browserClock: Clock = {
  now: () => Date.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/** Shown to a server that asks for keys. */
export interface Credentials {
  /** Null: nothing is shown. */
  key(): string | null;
  /** The server closed the socket because of it. */
  refused(): void;
}

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 15_000;
/** After 1013: the server asks for patience. */
const TRY_LATER_MS = 5_000;
/** A connection that lived this long was a good one: the next failure is the first again. */
const GOOD_AFTER_MS = 5_000;
/** Silence after which the server is asked for a sign of life, and after which the connection is given up. */
const PING_AFTER_MS = 10_000;
const LOST_AFTER_MS = 20_000;

const CLOSE_RESTART = 1012;
const CLOSE_TRY_LATER = 1013;
const CLOSE_UNAUTHENTICATED = 4401;
/** Of our own: the server said nothing. */
const CLOSE_SILENT = 4000;

const UNKNOWN: LiveState = { status: "connecting", failures: 0, lostAt: null, retryAt: null };

interface Subscription {
  readonly target: Target;
  readonly listeners: Set<Listener>;
  /** The id of the last event that was seen. */
  after: string | undefined;
  cancelRetry: (() => void) | undefined;
}

/**
 * The page's one WebSocket: connects, stays connected, and shares subscriptions among those who want the same.
 *
 * After a break every subscription goes on where it was (`after`); where that is no longer kept, its listeners get a
 * `gap`. Messages without an id (the overview, a model's state) are states: the next one replaces the last.
 */
export class LiveSocket {
  #state: LiveState = UNKNOWN;
  readonly #watchers = new Set<() => void>();
  readonly #subscriptions = new Map<string, Subscription>();
  #socket: Socket | null = null;
  #openedAt: number | null = null;
  #heardAt = 0;
  #cancelTimer: (() => void) | undefined;
  #started = false;

  /**
   * @param connect - opens a socket.
   * @param clock - the time.
   * @param random - from 0 to 1, for the jitter.
   * @param credentials - what is shown to the server; undefined: nothing.
   */
  constructor(
    private readonly connect: () => Socket,
    private readonly clock: Clock = browserClock,
    private readonly random: () => number = Math.random,
    private readonly credentials?: Credentials,
  ) {}

  /** For `useSyncExternalStore`: the same object until something changes. */
  readonly state = (): LiveState => this.#state;

  /** For `useSyncExternalStore`: calls back at every change of the state. */
  readonly watch = (changed: () => void): (() => void) => {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  };

  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#open();
  }

  stop(): void {
    this.#started = false;
    this.#cancelTimer?.();
    for (const subscription of this.#subscriptions.values()) subscription.cancelRetry?.();
    this.#drop()?.close();
    this.#failures = 0;
    this.#set(UNKNOWN);
  }

  /** Try now what would be tried later: the network is back, or somebody looks at the page again. */
  hurry(): void {
    if (this.#started && this.#state.status === "waiting") this.#open();
  }

  /** Listen to a target until the function that this returns is called. */
  subscribe(target: Target, listener: Listener): () => void {
    const key = keyOf(target);
    let subscription = this.#subscriptions.get(key);
    if (!subscription) {
      subscription = { target, listeners: new Set(), after: undefined, cancelRetry: undefined };
      this.#subscriptions.set(key, subscription);
      this.#ask(key, subscription);
    }
    const { listeners } = subscription;
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      const current = this.#subscriptions.get(key);
      if (listeners.size > 0 || current?.listeners !== listeners) return;
      current.cancelRetry?.();
      this.#subscriptions.delete(key);
      this.#send({ unsubscribe: target });
    };
  }

  #open(): void {
    this.#cancelTimer?.();
    this.#set({ ...this.#state, status: "connecting", retryAt: null });
    const socket = this.connect();
    this.#socket = socket;
    this.#heardAt = this.clock.now();
    socket.onopen = () => {
      this.#openedAt = this.#heardAt = this.clock.now();
      const key = this.credentials?.key() ?? null;
      if (key !== null) this.#send({ authenticate: key });
      for (const [key, subscription] of this.#subscriptions) this.#ask(key, subscription);
      this.#set({ status: "open", failures: 0, lostAt: null, retryAt: null });
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      this.#heardAt = this.clock.now();
      if (typeof data === "string") this.#take(data);
    };
    socket.onclose = ({ code }) => {
      this.#lost(code);
      if (code === CLOSE_UNAUTHENTICATED) this.credentials?.refused();
    };
    this.#listenForSilence();
  }

  #listenForSilence(): void {
    this.#cancelTimer = this.clock.after(PING_AFTER_MS / 2, () => {
      const silence = this.clock.now() - this.#heardAt;
      if (silence >= LOST_AFTER_MS) {
        const socket = this.#socket;
        this.#lost(CLOSE_SILENT);
        socket?.close();
        return;
      }
      if (silence >= PING_AFTER_MS) this.#send({ ping: this.clock.now() });
      this.#listenForSilence();
    });
  }

  #lost(code: number): void {
    const good = this.#openedAt !== null && this.clock.now() - this.#openedAt >= GOOD_AFTER_MS;
    this.#drop();
    const failures = (good ? 0 : this.#failures) + 1;
    this.#failures = failures;
    const delay = this.#delayMs(code, failures);
    const lostAt = this.#state.lostAt ?? this.clock.now();
    this.#set({ status: "waiting", failures, lostAt, retryAt: this.clock.now() + delay });
    this.#cancelTimer?.();
    this.#cancelTimer = this.clock.after(delay, () => this.#open());
  }

  /** Kept apart from the state, which forgets it as soon as a connection opens, good or not. */
  #failures = 0;

  #delayMs(code: number, failures: number): number {
    // An ingress that leaves says so, and another one is there: but not for ever at once.
    if (code === CLOSE_RESTART && failures === 1) return 0;
    const delay = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
    const least = code === CLOSE_TRY_LATER ? TRY_LATER_MS : 0;
    return least + delay * (0.5 + this.random() / 2);
  }

  /** Forget the socket, so that nothing which it still says counts. */
  #drop(): Socket | null {
    const socket = this.#socket;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    this.#socket = null;
    this.#openedAt = null;
    return socket;
  }

  #ask(key: string, subscription: Subscription): void {
    subscription.cancelRetry?.();
    subscription.cancelRetry = undefined;
    const { target, after } = subscription;
    this.#send({ subscribe: after === undefined ? target : { ...target, after }, ref: key });
  }

  #send(message: object): void {
    if (this.#openedAt !== null) this.#socket?.send(JSON.stringify(message));
  }

  #take(text: string): void {
    const message = parse(text);
    switch (message?.type) {
      case "job": {
        const ofJob = !message.id.includes("-");
        this.#hand(
          ofJob ? `job:${message.job_id}` : `model:${message.model_name}`,
          message,
          message.id,
        );
        return;
      }
      case "model":
        this.#hand(`model:${message.name}`, message);
        return;
      case "overview":
        this.#hand("overview", message);
        return;
      case "changes":
        this.#hand("changes", message, message.id);
        return;
      case "problem":
        this.#refused(message);
        return;
    }
  }

  #hand(key: string, message: LiveMessage, id?: string): void {
    const subscription = this.#subscriptions.get(key);
    if (!subscription) return;
    if (id !== undefined) subscription.after = id;
    for (const listener of [...subscription.listeners]) listener(message);
  }

  #refused(problem: Schemas["WsProblem"]): void {
    const key = problem.subscription ?? problem.ref;
    const subscription = typeof key === "string" ? this.#subscriptions.get(key) : undefined;
    if (typeof key !== "string" || !subscription) return;
    if (problem.status === 410) {
      subscription.after = undefined;
      this.#ask(key, subscription);
      this.#hand(key, { type: "gap" });
    } else if (problem.status >= 500 || problem.status === 429) {
      subscription.cancelRetry?.();
      subscription.cancelRetry = this.clock.after(TRY_LATER_MS, () => this.#ask(key, subscription));
    } else {
      this.#hand(key, { type: "refused", problem });
    }
  }

  #set(state: LiveState): void {
    this.#state = state;
    for (const changed of [...this.#watchers]) changed();
  }
}

/** The server's own name for a subscription: it stands in the problem that ends one. */
export function keyOf(target: Target): string {
  if ("job_id" in target) return `job:${target.job_id}`;
  if ("model_name" in target) return `model:${target.model_name}`;
  return "overview" in target ? "overview" : "changes";
}

type Received =
  | JobMessage
  | ModelMessage
  | OverviewMessage
  | ChangesMessage
  | Schemas["WsProblem"]
  | Schemas["WsUnsubscribed"]
  | Schemas["WsPong"]
  | Schemas["WsPing"];

function parse(text: string): Received | null {
  try {
    return JSON.parse(text) as Received;
  } catch {
    return null;
  }
}
