import type { Versions } from "@/api/models";

/**
 * The version that would answer after a roll back.
 *
 * @param history - newest first.
 * @returns null: the one that the system began with, which the history does not name.
 */
export function rollbackTo(history: Versions["history"]): string | null {
  const standing = history.filter(({ undone_at }) => undone_at === null);
  return standing[1]?.version ?? null;
}
