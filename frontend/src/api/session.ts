import { useSyncExternalStore } from "react";

const STORED = "satellite-key";

/** Why a key is asked for. */
export interface Asked {
  /** What the API said of the last one; null: there was none, or it was given up. */
  readonly refusal: string | null;
}

export interface SessionState {
  /** What the API is called with; null: nothing, as where it asks for no keys. */
  readonly key: string | null;
  /** Null: nobody need sign in. */
  readonly asked: Asked | null;
}

/**
 * The API key of whoever uses the page.
 *
 * It lives in the browser's storage, and goes out in a header that only the page's own scripts set. A browser sends a
 * cookie with whatever request another site makes it send, and every call would need a defence against that (CSRF); a
 * header needs none. Scripts of others, who could read the storage, are kept out by the page's `script-src 'self'`.
 */
export class Session {
  #state: SessionState = { key: stored(), asked: null };
  readonly #watchers = new Set<() => void>();

  /** For `useSyncExternalStore`: the same object until something changes. */
  readonly state = (): SessionState => this.#state;

  /** For `useSyncExternalStore`: calls back at every change of the state. */
  readonly watch = (changed: () => void): (() => void) => {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  };

  /**
   * Call with this key from now on.
   *
   * @param key - null: with none, as the API asks for none.
   * @param keep - until somebody signs out; else until the tab is closed.
   */
  signIn(key: string | null, keep: boolean): void {
    forget();
    if (key !== null) store(key, keep);
    this.#set({ key, asked: null });
  }

  signOut(): void {
    forget();
    this.#set({ key: null, asked: { refusal: null } });
  }

  /** The API refused a call that was made with this key, or without any. */
  refused(key: string | null, message: string): void {
    // Of a key that is no longer used it does not matter any more.
    if (key !== this.#state.key || this.#state.asked !== null) return;
    forget();
    this.#set({ key: null, asked: { refusal: key === null ? null : message } });
  }

  /** Another tab has changed the storage: who signs out there with the key of this tab, signs out here. */
  changedElsewhere({ key: name, oldValue, newValue }: StorageEvent): void {
    if (name === STORED && newValue === null && oldValue === this.#state.key) this.signOut();
  }

  #set(state: SessionState): void {
    this.#state = state;
    for (const changed of [...this.#watchers]) changed();
  }
}

export const session = new Session();

export function useSession(): SessionState {
  return useSyncExternalStore(session.watch, session.state);
}

/** Whether a header can carry it; what was pasted may be anything. */
export function isSendable(key: string): boolean {
  return /^[\x21-\x7e]+$/.test(key);
}

function stored(): string | null {
  try {
    return sessionStorage.getItem(STORED) ?? localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function store(key: string, keep: boolean): void {
  try {
    (keep ? localStorage : sessionStorage).setItem(STORED, key);
  } catch {
    // Storage is forbidden: it holds until the page is closed or loaded anew.
  }
}

function forget(): void {
  try {
    sessionStorage.removeItem(STORED);
    localStorage.removeItem(STORED);
  } catch {
    // There is none.
  }
}
