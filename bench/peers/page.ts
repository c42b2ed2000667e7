// The page of bench/peers.ts: runs every job on every side in turn, compares the results, and sends the times.
import { currentBackend } from "../../src/index.ts";
import { describe, flops, type Job, jobs, outSize } from "./jobs.ts";
import { type Inputs, jaxJs, onnxruntime, type Prepared, type Side, tessera, tfjs } from "./sides.ts";

const query = new URLSearchParams(location.search);
const most = Number(query.get("most") ?? Infinity), rounds = Number(query.get("rounds") ?? 3);
const only = query.get("only") ?? "";

const send = (answer: unknown) => fetch("/answer", { method: "POST", body: JSON.stringify(answer) });
const text = (error: unknown) => error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
addEventListener("unhandledrejection", ({ reason }) => void send({ problem: text(reason) }));

/** Loads a module that the bundler must not include. */
const load = <T>(path: string): Promise<T> => import(path) as Promise<T>;

async function sides(): Promise<Side[]> {
  const base = `${location.origin}/node_modules`;
  return [
    await tessera(),
    onnxruntime(
      await load(`${base}/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs`),
      `${base}/onnxruntime-web/dist/`,
    ),
    await jaxJs(await load(`${base}/@jax-js/jax/dist/index.js`)),
    await tfjs((globalThis as unknown as { tf: Parameters<typeof tfjs>[0] }).tf),
  ];
}

function inputsOf(job: Job): Inputs {
  let state = 1;
  const draw = (n: number) =>
    Float32Array.from({ length: n }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 31 - 1;
    });
  if (job.kind === "matmul") {
    return { x: draw(job.rows * job.depth), w: draw(job.depth * job.columns), g: new Float32Array() };
  }
  const { size, inputs, outputs, kernel } = job;
  return {
    x: draw(size ** 2 * inputs),
    w: draw(inputs * outputs * kernel ** 2),
    g: draw(outSize(job) ** 2 * outputs),
  };
}

/** The largest difference, as a fraction of the largest value. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let worst = a.length === b.length ? 0 : Infinity, size = 0;
  for (let i = 0; i < a.length; i++) {
    worst = Math.max(worst, Math.abs(a[i] - b[i]));
    size = Math.max(size, Math.abs(b[i]));
  }
  return worst / size;
}

/** The least milliseconds of a sample, so that the clock and the start of a call do not matter, and the most calls in it. */
const SAMPLE = 100, CALLS = 100;
/** If a call takes this many milliseconds, there are at most three samples. */
const SLOW = 2000;

/** The milliseconds of a call, as the mean of `calls` calls. */
async function time(prepared: Prepared, calls: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < calls; i++) await prepared.run();
  await prepared.wait();
  return (performance.now() - start) / calls;
}

async function measure(job: Job, all: readonly Side[]) {
  const inputs = inputsOf(job), times = new Map<string, number[]>();
  const ready = new Map<string, { prepared: Prepared; calls: number; most: number }>();
  let wanted: ArrayLike<number> | null = null;
  for (const { name, prepare } of all) {
    try {
      const prepared = await prepare(job, inputs);
      if (!prepared) continue;
      await prepared.run();
      await prepared.wait();
      const values = await prepared.read();
      const off = wanted ? difference(values, wanted) : 0;
      wanted ??= values;
      if (!(off < 1e-4)) throw new Error(`its result is off by ${off} of the largest value`);
      const ms = await time(prepared, 1);
      const calls = Math.min(CALLS, Math.ceil(SAMPLE / ms));
      ready.set(name, { prepared, calls, most: ms > SLOW ? Math.min(3, rounds) : rounds });
      times.set(name, []);
    } catch (error) {
      await send({ problem: `${name}, ${describe(job)}: ${text(error)}` });
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const [name, { prepared, calls, most }] of ready) {
      if (round < most) times.get(name)!.push(await time(prepared, calls));
    }
  }
  for (const { prepared } of ready.values()) prepared.dispose();
  await send({ job: describe(job), flops: flops(job), times: Object.fromEntries(times) });
}

try {
  const all = await sides();
  await send({ description: currentBackend().description });
  for (const job of jobs(most)) if (describe(job).includes(only)) await measure(job, all);
  await send({ done: true });
} catch (error) {
  await send({ problem: text(error), done: true });
}
