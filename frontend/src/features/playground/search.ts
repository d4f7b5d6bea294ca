export interface PlaygroundSearch {
  /** Which model is tried; without it: the first. */
  model?: string;
}

export function playgroundSearch(search: Record<string, unknown>): PlaygroundSearch {
  return typeof search.model === "string" && search.model !== "" ? { model: search.model } : {};
}
