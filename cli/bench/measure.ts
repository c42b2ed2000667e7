// Times the jobs of a model on the current device.
import { Random } from "../../src/index.ts";
import { type Cost, type JobName, jobNames, prepare, type Subject } from "./jobs.ts";

/** How long a job took. */
export interface Timing {
  /** Of each run, in seconds. */
  readonly seconds: readonly number[];
  /** In seconds. */
  readonly median: number;
  /** The operations of the definition per second, in 1e9. Winograd's algorithm needs fewer. */
  readonly gflops: number;
}

export type Timings = Readonly<Record<JobName, Timing>>;

/** A job is repeated for so many seconds, but at least and at most so often. */
const lasting = 1, least = 3, most = 30;

/**
 * Times each job. It first runs without being timed, because engines and drivers compile what runs often.
 * @param warmUp how many seconds of that at least
 * @param onRun called after each run with the share of the whole work that is done
 */
export async function measure(
  subject: Subject,
  { flops }: Cost,
  warmUp: number,
  onRun: (share: number) => void,
): Promise<Timings> {
  const jobs = prepare(subject, new Random(1));
  const all = jobNames.reduce((sum, name) => sum + flops[name], 0);
  let before = 0;
  const timings: [JobName, Timing][] = [];
  try {
    for (const name of jobNames) {
      const share = flops[name] / all;
      const report = (done: number) => onRun(before + share * Math.min(1, done));
      const start = performance.now(), since = () => (performance.now() - start) / 1000;
      do {
        await jobs[name]();
        report(1 / (least + 1));
      } while (since() < warmUp);
      const began = since(), seconds: number[] = [];
      while (seconds.length < least || (since() - began < lasting && seconds.length < most)) {
        const from = since();
        await jobs[name]();
        seconds.push(since() - from);
        report((1 + seconds.length) / (least + 1));
      }
      const median = seconds.toSorted((a, b) => a - b)[seconds.length >> 1];
      timings.push([name, { seconds, median, gflops: flops[name] / median / 1e9 }]);
      before += share;
    }
  } finally {
    jobs.dispose();
  }
  return Object.fromEntries(timings) as Record<JobName, Timing>;
}

/**
 * About how many seconds `measure` will take, from what another model took on the same device.
 * @param known the timings and the work of the other model
 */
export function estimateSeconds({ flops }: Cost, known: { timings: Timings; cost: Cost }): number {
  const one = (name: JobName) => known.timings[name].median * flops[name] / known.cost.flops[name];
  return jobNames.reduce((sum, name) => sum + (least + 1) * one(name), 0);
}
