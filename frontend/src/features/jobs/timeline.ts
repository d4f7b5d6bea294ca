/** A part of a job's time. */
export interface Segment {
  /** As the API names it: `queue`, `compute`, ... */
  name: string;
  seconds: number;
  /** Of the bar, in percent: all of them make 100. */
  width: number;
}

/** So little is still seen, in percent. */
const LEAST_WIDTH = 0.8;

/**
 * The parts of a job's time as stretches of one bar, in their order.
 *
 * What took no time is left out. What took very little is drawn a little wider than it is, at the cost of the others.
 */
export function segmentsOf(parts: Readonly<Record<string, number>>): Segment[] {
  const taken = Object.entries(parts).filter(([, seconds]) => seconds > 0);
  const total = taken.reduce((sum, [, seconds]) => sum + seconds, 0);
  const share = ([, seconds]: readonly [string, number]) => (100 * seconds) / total;
  const small = taken.filter((part) => share(part) < LEAST_WIDTH);
  const smallShare = small.reduce((sum, part) => sum + share(part), 0);
  const left = (100 - small.length * LEAST_WIDTH) / (100 - smallShare);
  return taken.map(([name, seconds]) => {
    const width = share([name, seconds]);
    return { name, seconds, width: width < LEAST_WIDTH ? LEAST_WIDTH : width * left };
  });
}
