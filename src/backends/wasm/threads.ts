// The worker pool. A job is a kernel and a number of tiles, and each free thread takes the next tile from an atomic counter.
// Workers live inside WebAssembly, spin briefly between jobs and then sleep on a futex: no messages, no idle CPU.
import { type ModuleBuilder } from "./assembler/assembler.ts";
import { f32, i32 } from "./assembler/expressions.ts";

/** Addresses of the control words. Each of the first three has a cache line of its own. */
const GENERATION = 64;
const TICKETS = 128;
const REMAINING = 192;
const KERNEL = 256;
const TILES = 260;
/** Arguments of the current job: 64 words. */
export const ARGUMENTS = 320;
/** The word behind the arguments. It is set when a worker has died. */
export const FAILED = 64;
export const CONTROL_BYTES = 1024;

/** Argument `n` of the running kernel. */
export const argument = (n: number) => i32.load(ARGUMENTS, 4 * n);
export const argumentF32 = (n: number) => f32.load(ARGUMENTS, 4 * n);

// A thread looks for about 50 us before it sleeps, which is longer than the main thread needs between two kernels.
const SPINS = 20000;

/** Adds the scheduling functions; `noop` gives kernels their type: (tile, scratch) -> (). */
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
    f.atomicStore(TICKETS, f.param(1, "i32")); // opens the job, now that everything else is in place
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

/** Not imported, so that this file also loads in web pages, which do not have this module. */
const workerThreads = globalThis.process?.getBuiltinModule?.("node:worker_threads");

/**
 * How many threads compute, the main thread included: TESSERA_THREADS, or one per core up to 16. In a web page it is one,
 * because the page's thread is not allowed to wait for others.
 */
export function threadCount(): number {
  if (!workerThreads) return 1;
  const wish = Number(globalThis.process?.env.TESSERA_THREADS);
  return wish >= 1 ? Math.floor(wish) : Math.min(16, navigator.hardwareConcurrency);
}

/** Starts `scratch.length` workers on the module. Each joins in as soon as it is up, and nobody waits for it. */
export function startWorkers(
  bytes: Uint8Array,
  memory: WebAssembly.Memory,
  scratch: readonly number[],
): void {
  if (!workerThreads) return;
  for (const at of scratch) {
    const worker = new workerThreads.Worker(new URL("./worker.ts", import.meta.url), {
      workerData: { bytes, memory, scratch: at, failed: ARGUMENTS / 4 + FAILED, waiting: REMAINING / 4 },
    });
    worker.unref(); // a sleeping worker must not keep the process alive
  }
}
