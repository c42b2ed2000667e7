// A worker thread: instantiates the kernels on the shared memory and serves tiles until the process ends.
import { workerData } from "node:worker_threads";

interface WorkerData {
  bytes: Uint8Array<ArrayBuffer>;
  memory: WebAssembly.Memory;
  scratch: number;
}

const { bytes, memory, scratch } = workerData as WorkerData;
const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
(instance.exports.serve as (scratch: number) => void)(scratch);
