// A worker thread: instantiates the kernels on the shared memory and serves tiles until the process ends.
import { workerData } from "node:worker_threads";

interface WorkerData {
  bytes: Uint8Array<ArrayBuffer>;
  memory: WebAssembly.Memory;
  scratch: number;
  /** Indices of the words that tell a failure to the main thread, which may be asleep. */
  failed: number;
  waiting: number;
}

const { bytes, memory, scratch, failed, waiting } = workerData as WorkerData;
try {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  (instance.exports.serve as (scratch: number) => void)(scratch);
} catch (error) {
  console.error(error);
  const words = new Int32Array(memory.buffer);
  Atomics.store(words, failed, 1);
  Atomics.notify(words, waiting);
}
