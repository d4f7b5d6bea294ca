export const SAMPLES = ["seasonal", "trend", "noisy", "anomaly", "battery"] as const;
export type Sample = (typeof SAMPLES)[number];

/** A made-up series, the same at every call. */
export function sample(name: Sample): number[] {
  const noise = newNoise();
  return Array.from({ length: LENGTH }, (_, at) => round(MAKERS[name](at, noise)));
}

const LENGTH = 240;
const DAY = 24;

const wave = (at: number, period: number) => Math.sin((2 * Math.PI * at) / period);

const MAKERS: Record<Sample, (at: number, noise: () => number) => number> = {
  /** Hourly, with a rhythm of days. */
  seasonal: (at, noise) => 50 + 12 * wave(at, DAY) + 4 * wave(at, DAY / 2) + noise(),
  trend: (at, noise) => 100 + 0.35 * at + 5 * wave(at, DAY) + 2 * noise(),
  /** A temperature in °C, read badly. */
  noisy: (at, noise) => 21 + 1.5 * wave(at, 96) + 0.8 * noise(),
  /** As the seasonal one, with a spike and a stretch that stands still. */
  anomaly: (at, noise) => {
    const value = 50 + 12 * wave(at, DAY) + noise();
    if (at === 90) return value + 45;
    return at >= 170 && at < 182 ? 50 : value;
  },
  /** A satellite's bus in V: each orbit of 95 min, sampled every 5, discharges in the Earth's shadow. */
  battery: (at, noise) => {
    const phase = (at % 19) / 19;
    const shadow = 0.37;
    const charge = phase < shadow ? 1 - phase / shadow : Math.min(1, (phase - shadow) / 0.45);
    return 26.4 + 5.6 * Math.sqrt(charge) + 0.08 * noise();
  },
};

/** About normal, of deviation 1. */
function newNoise(): () => number {
  let state = 20_240_229;
  const uniform = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  return () => (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
