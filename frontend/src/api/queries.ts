import { QueryClient } from "@tanstack/react-query";
import { ApiError } from "./client";

/** How often data is read again while nothing arrives live. */
export const FALLBACK_INTERVAL_MS = 10_000;

export function newQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // What changes is told over the WebSocket; what is older than this is read again when it is shown anew.
        staleTime: 5_000,
        retry: (failures, error) => failures < 2 && worthRepeating(error),
      },
    },
  });
}

/** Whether the same request may do better a moment later. */
function worthRepeating(error: Error): boolean {
  if (!(error instanceof ApiError)) return false;
  return error.status === 0 || error.status === 429 || error.status >= 500;
}
