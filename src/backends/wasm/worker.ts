// The program of a worker thread. A worker is started from the text of this function, not from the address of this file,
// because a bundler may move the file, a page cannot start a worker from another origin, and Node cannot start one from an
// https address.

export interface WorkerData {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly memory: WebAssembly.Memory;
  readonly scratch: number;
  /** The indices of the words that report a failure to the main thread, which may be sleeping. */
  readonly failed: number;
  readonly waiting: number;
}

/**
 * Instantiates the kernels on the shared memory, calls `ready`, and computes tiles until the process ends. It may use only
 * its arguments and what every worker has, because only its own text is passed to the worker.
 */
export function serveTiles(data: WorkerData, ready: () => void): void {
  const { bytes, memory, scratch, failed, waiting } = data;
  try {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
    ready();
    (instance.exports.serve as (scratch: number) => void)(scratch);
  } catch (error) {
    console.error(error);
    const words = new Int32Array(memory.buffer);
    Atomics.store(words, failed, 1);
    Atomics.notify(words, waiting);
  }
}
