// Times passes with the GPU's own clock, for the choice of tiles and for benchmarks.

// WebGPU's flags; Bun does not have their names
const MAP_READ = 1, COPY_SRC = 4, COPY_DST = 8, QUERY_RESOLVE = 0x200;
/** Passes that can be timed in one encoder: WebGPU allows 4096 queries in a set. */
export const MOST = 2048;

/** How long a pass took. */
export interface Time {
  readonly name: string;
  readonly ms: number;
}

export class Stopwatch {
  readonly #device: GPUDevice;
  readonly #queries: GPUQuerySet;
  /** Names of the passes since the last submit. */
  #names: string[] = [];
  #times: Promise<Time[]>[] = [];

  /** @param most the most passes between two submits */
  constructor(device: GPUDevice, most: number = MOST) {
    this.#device = device;
    this.#queries = device.createQuerySet({ type: "timestamp", count: 2 * most });
  }

  /** Describes the next pass. */
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

  /** Finishes an encoder, and submits it to the GPU. */
  submit(encoder: GPUCommandEncoder): void {
    const names = this.#names, bytes = 16 * names.length;
    if (bytes === 0) return this.#device.queue.submit([encoder.finish()]);
    const resolved = this.#device.createBuffer({ size: bytes, usage: QUERY_RESOLVE | COPY_SRC });
    const reader = this.#device.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST });
    encoder.resolveQuerySet(this.#queries, 0, 2 * names.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, reader, 0, bytes);
    this.#device.queue.submit([encoder.finish()]);
    const read = async () => {
      await reader.mapAsync(1);
      const stamps = new BigUint64Array(reader.getMappedRange().slice(0));
      for (const used of [resolved, reader]) used.destroy();
      return names.map((name, i) => ({ name, ms: Number(stamps[2 * i + 1] - stamps[2 * i]) / 1e6 }));
    };
    this.#names = [];
    this.#times.push(read());
  }

  /** Returns the times of all passes submitted since the last call, in order. */
  async read(): Promise<Time[]> {
    const times = this.#times;
    this.#times = [];
    return (await Promise.all(times)).flat();
  }
}
