import createClient from "openapi-fetch";
import type { components, paths } from "./schema";
import { session } from "./session";

export type Schemas = components["schemas"];
export type Problem = Schemas["Problem"];

/** The folder of the page, whatever path a proxy put before it; the page's own place is in the fragment. */
export function pageUrl(path: string): URL {
  return new URL(path, new URL(".", document.baseURI));
}

/** An answer that was not what was asked for. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  /**
   * @param status - of HTTP; 0: there was no answer.
   * @param code - stable: decide by it. `unreachable` where there was no answer, `unreadable` where it was none of ours.
   * @param problem - the whole answer, if it was one of the API's problems.
   */
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly problem?: Problem,
  ) {
    super(message);
  }
}

export const client = createClient<paths>({
  baseUrl: pageUrl(".").href,
  fetch: send,
});

/** Every call, with the key of whoever has signed in; one that is refused ends the session. */
async function send(request: Request): Promise<Response> {
  const { key } = session.state();
  const ofSession = !request.headers.has("Authorization");
  if (ofSession && key !== null) request.headers.set("Authorization", `Bearer ${key}`);
  // Looked up at each call, so that a test can take its place.
  const response = await fetch(request);
  if (ofSession && response.status === 401) {
    const found: unknown = await response
      .clone()
      .json()
      .catch(() => null);
    // A 401 without it is of something between here and the API, which knows nothing of keys.
    if (isProblem(found) && found.code === "unauthenticated") session.refused(key, found.detail);
  }
  return response;
}

/** What openapi-fetch returns. */
interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/**
 * The body of an answer.
 *
 * @throws ApiError - the API refused, could not be reached, or something between answered in its place.
 */
export async function body<T>(answer: Promise<Answer<T>>): Promise<T> {
  let got: Answer<T>;
  try {
    got = await answer;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    if (error instanceof SyntaxError) throw new ApiError(error.message, 200, "unreadable");
    throw new ApiError(String(error), 0, "unreachable");
  }
  if (got.response.ok) return got.data as T;
  throw apiError(got.error, got.response.status);
}

/** The error that a body which came with this status stands for. */
export function apiError(found: unknown, status: number): ApiError {
  if (isProblem(found)) return new ApiError(found.detail, status, found.code, found);
  return new ApiError(`HTTP ${status}`, status, "unreadable");
}

function isProblem(found: unknown): found is Problem {
  return typeof found === "object" && found !== null && "code" in found && "detail" in found;
}
