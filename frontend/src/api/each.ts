/** What became of one of many. */
export interface Outcome<T, R> {
  readonly item: T;
  readonly value?: R;
  readonly error?: Error;
}

/**
 * Do the same for each of many, a few at a time.
 *
 * @param onOutcome - called after each, with all outcomes so far.
 * @param signal - when it is aborted, what has begun comes to its end and nothing further begins.
 */
export async function forEachOf<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
  onOutcome: (outcomes: readonly Outcome<T, R>[]) => void,
  signal: AbortSignal,
  atOnce = 4,
): Promise<void> {
  const outcomes: Outcome<T, R>[] = [];
  let next = 0;
  async function worker() {
    while (!signal.aborted && next < items.length) {
      const item = items[next++] as T;
      try {
        outcomes.push({ item, value: await work(item) });
      } catch (error) {
        outcomes.push({ item, error: error instanceof Error ? error : new Error(String(error)) });
      }
      onOutcome([...outcomes]);
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
}
