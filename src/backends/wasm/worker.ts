// What a worker thread does. It is started from the text of this function and not from the address of this file: a
// bundler may have moved the file, a page starts no worker of another origin, and Node starts none from an https address.

export interface WorkerData {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly memory: WebAssembly.Memory;
  readonly scratch: number;
  /** Indices of the words that tell a failure to the main thread, which may be asleep. */
  readonly failed: number;
  readonly waiting: number;
}

/**
 * Instantiates the kernels on the shared memory, calls `ready`, and serves tiles until the process ends. It may use its
 * arguments and what every worker has, but nothing else of this project, because only its own text is handed over.
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
