// Prints a line for each kernel that a backend runs, with its sizes, time and rates (DEBUG=2).
import type { Backend } from "./backend.ts";
import { workOf } from "./counting.ts";
import { type Calls, type KernelName, textOf } from "./kernels.ts";

/**
 * Makes the backend write a line for each kernel from now on, and returns it. A GPU runs a kernel later, so its time is only
 * the time of the call; bench/webgpu_step.ts measures with the GPU's own clock.
 */
export function profiled<B extends Backend>(backend: B, write: (line: string) => void): B {
  const run = backend.run.bind(backend);
  backend.run = <K extends KernelName>(name: K, call: Calls[K]): void => {
    const start = performance.now();
    run(name, call);
    const ms = performance.now() - start;
    const { flops, bytes } = workOf(name, call);
    const rate = (amount: number) => (amount / Math.max(ms, 1e-3) / 1e6).toFixed(1); // a coarse clock may show 0
    const rates = `${rate(flops)} GFLOP/s ${rate(bytes)} GB/s`;
    write(`${backend.name} ${name} ${textOf(call)} ${ms.toFixed(3)} ms ${rates}`);
  };
  return backend;
}
