// How long passes take by the GPU's own clock: for the choice of tiles, and for benchmarks that ask what a step is made of.

// WebGPU's flags, whose names Bun does not have
const MAP_READ = 1, COPY_SRC = 4, COPY_DST = 8, QUERY_RESOLVE = 0x200;
/** Passes that are timed in an encoder at most: WebGPU has 4096 queries in a set. */
export const MOST = 2048;

export class Stopwatch {
  readonly device: GPUDevice;

  readonly #queries: GPUQuerySet;
  /** What the passes since the last reading are called. */
  #names: string[] = [];
  #times: Promise<{ name: string; ms: number }[]>[] = [];

  /** @param most passes between two submits */
  constructor(device: GPUDevice, most: number = MOST) {
    this.device = device;
    this.#queries = device.createQuerySet({ type: "timestamp", count: 2 * most });
  }

  /** Of the next pass. */
  pass(name: string): GPUComputePassDescriptor {
    const at = 2 * this.#names.length;
    this.#names.push(name);
    return {
      timestampWrites: {
        querySet: this.#queries,
        beginningOfPassWriteIndex: at,
        endOfPassWriteIndex: at + 1,
      },
    };
  }

  /** Ends an encoder, and hands it to the GPU. */
  submit(encoder: GPUCommandEncoder): void {
    const names = this.#names, bytes = 16 * names.length;
    if (bytes === 0) return this.device.queue.submit([encoder.finish()]);
    const resolved = this.device.createBuffer({ size: bytes, usage: QUERY_RESOLVE | COPY_SRC });
    const reader = this.device.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST });
    encoder.resolveQuerySet(this.#queries, 0, 2 * names.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, reader, 0, bytes);
    this.device.queue.submit([encoder.finish()]);
    const read = async () => {
      await reader.mapAsync(1);
      const stamps = new BigUint64Array(reader.getMappedRange().slice(0));
      for (const used of [resolved, reader]) used.destroy();
      return names.map((name, i) => ({ name, ms: Number(stamps[2 * i + 1] - stamps[2 * i]) / 1e6 }));
    };
    this.#names = [];
    this.#times.push(read());
  }

  /** Milliseconds of all passes submitted since the last reading, in order. */
  async read(): Promise<{ name: string; ms: number }[]> {
    const times = this.#times;
    this.#times = [];
    return (await Promise.all(times)).flat();
  }
}
