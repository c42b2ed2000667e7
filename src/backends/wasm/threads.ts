// The worker pool. A job is a kernel and a number of tiles; each free thread takes the next tile from an atomic counter.
// Workers stay inside WebAssembly: between jobs they spin briefly and then sleep on a futex. So no messages are needed, and
// idle workers use no CPU time.
import { usableCores, variable } from "../../environment.ts";
import { type ModuleBuilder } from "./assembler/assembler.ts";
import { f32, i32 } from "./assembler/expressions.ts";
import { serveTiles, type WorkerData } from "./worker.ts";

/** Addresses of the control words. Each of the first three has a cache line of its own. */
const GENERATION = 64;
const TICKETS = 128;
const REMAINING = 192;
const KERNEL = 256;
const TILES = 260;
/** The address of the current job's arguments, which are 64 words. */
export const ARGUMENTS = 320;
/** The index of the word after the arguments. It is set when a worker has died. */
export const FAILED = 64;
export const CONTROL_BYTES = 1024;

/** Argument `n` of the running kernel. */
export const argument = (n: number) => i32.load(ARGUMENTS, 4 * n);
export const argumentF32 = (n: number) => f32.load(ARGUMENTS, 4 * n);

// A thread spins for about 50 us before it sleeps, which is longer than the main thread needs between two kernels.
const SPINS = 20000;

/** Adds the scheduling functions. `noop` exists to define the type of kernels: (tile, scratch) -> (). */
export function addScheduler(m: ModuleBuilder): void {
  m.fn("noop", ["i32", "i32"], [], () => {});

  m.fn("work", ["i32"], [], (f) => {
    const ticket = f.local("i32");
    const take = () => f.set(ticket, i32.atomicSub(TICKETS, 1));
    take();
    f.while(i32.gt(ticket, 0), () => {
      // The job cannot end before this tile is done, so KERNEL and TILES are those of the ticket's job.
      const tile = i32.sub(i32.load(0, TILES), ticket);
      f.callIndirect("noop", i32.load(0, KERNEL), tile, f.param(0, "i32"));
      f.if(i32.eq(i32.atomicSub(REMAINING, 1), 1), () => f.notify(REMAINING, 1));
      take();
    });
  });

  m.fn("run", ["i32", "i32", "i32"], [], (f) => {
    f.storeI32(0, f.param(0, "i32"), KERNEL);
    f.storeI32(0, f.param(1, "i32"), TILES);
    f.atomicStore(REMAINING, f.param(1, "i32"));
    f.atomicStore(TICKETS, f.param(1, "i32")); // starts the job; everything else has been written before
    f.atomicStore(GENERATION, i32.add(i32.atomicLoad(GENERATION), 1));
    f.notify(GENERATION, 0x7fffffff);
    f.call("work", f.param(2, "i32"));
    const left = f.local("i32");
    const spins = f.local("i32");
    f.set(left, i32.atomicLoad(REMAINING));
    f.while(i32.and(i32.gt(left, 0), i32.eqz(i32.atomicLoad(ARGUMENTS + 4 * FAILED))), () => {
      f.inc(spins, 1);
      f.if(i32.gt(spins, SPINS), () => f.wait(REMAINING, left));
      f.set(left, i32.atomicLoad(REMAINING));
    });
  });

  m.fn("serve", ["i32"], [], (f) => {
    const seen = f.local("i32");
    const spins = f.local("i32");
    f.while(1, () => {
      f.set(seen, i32.atomicLoad(GENERATION));
      f.call("work", f.param(0, "i32"));
      f.set(spins, 0);
      f.while(i32.and(i32.eq(i32.atomicLoad(GENERATION), seen), i32.lt(spins, SPINS)), () => f.inc(spins, 1));
      f.if(i32.eq(i32.atomicLoad(GENERATION), seen), () => f.wait(GENERATION, seen));
    });
  });
}

/** Not imported, so that this file also loads in web pages, where this module does not exist. */
const workerThreads = globalThis.process?.getBuiltinModule?.("node:worker_threads");

/**
 * Whether this is a worker of a web page that can start workers of its own and share memory with them. The page's main
 * thread cannot, because browsers do not let it wait.
 */
function isWorkerThatShares(): boolean {
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  // WebKitGTK calls itself isolated and has no SharedArrayBuffer
  return ["WorkerGlobalScope", "Worker", "SharedArrayBuffer"].every((name) => name in globalThis) &&
    crossOriginIsolated === true;
}

/**
 * The number of threads that compute, including the calling one: TESSERA_THREADS, or one for each core that may be used
 * (`usableCores`), up to 16. In a web page it is one, except in a worker of a page that is isolated from other origins (the
 * headers COOP and COEP).
 */
export function threadCount(): number {
  if (!workerThreads && !isWorkerThatShares()) return 1;
  const wish = Number(variable("TESSERA_THREADS"));
  return wish >= 1 ? Math.floor(wish) : Math.min(16, usableCores());
}

/**
 * Starts `scratch.length` workers on the module. Each takes tiles as soon as it has started, so waiting for the promise is
 * necessary only in a page's worker, whose workers do not start before it lets other events run.
 * @returns a promise that resolves when all have started
 */
export async function startWorkers(
  bytes: Uint8Array<ArrayBuffer>,
  memory: WebAssembly.Memory,
  scratch: readonly number[],
): Promise<void> {
  const shared = { bytes, memory, failed: ARGUMENTS / 4 + FAILED, waiting: REMAINING / 4 };
  const start = workerThreads ? startThread : startPageWorker;
  await Promise.all(scratch.map((at) => start({ ...shared, scratch: at })));
}

/** Starts a worker in Deno, Bun and Node. */
function startThread(workerData: WorkerData): Promise<void> {
  const code = `const { parentPort, workerData } = globalThis.process.getBuiltinModule("node:worker_threads");
(${serveTiles})(workerData, () => parentPort.postMessage("ready"));`;
  return new Promise((resolve, reject) => {
    const worker = new workerThreads!.Worker(code, { eval: true, workerData });
    worker.once("error", (error) => reject(notStarted(String(error))));
    worker.once("message", () => {
      worker.unref(); // a sleeping worker must not keep the process alive
      resolve();
    });
  });
}

/** Starts a worker from a page's worker. */
function startPageWorker(data: WorkerData): Promise<void> {
  const code = `onmessage = ({ data }) => (${serveTiles})(data, () => postMessage("ready"));`;
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  return new Promise<void>((resolve, reject) => {
    const worker = new Worker(url);
    worker.onmessage = () => resolve();
    worker.onerror = () =>
      reject(notStarted('the page\'s Content-Security-Policy must allow "worker-src blob:"'));
    worker.postMessage(data);
  }).finally(() => URL.revokeObjectURL(url));
}

function notStarted(reason: string): Error {
  return new Error(`cpu: a worker thread does not start: ${reason}`);
}
