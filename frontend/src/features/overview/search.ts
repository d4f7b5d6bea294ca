export interface OverviewSearch {
  /** Only this model; without it: all. */
  model?: string;
}

export function overviewSearch(search: Record<string, unknown>): OverviewSearch {
  return typeof search.model === "string" && search.model !== "" ? { model: search.model } : {};
}
