// The ranks as the training's thread uses them when there are several: it packs tensors into buckets, and MPI's thread
// (worker.ts) sends these.
import { Buffer } from "node:buffer";
import process from "node:process";
import v8 from "node:v8";
import { Worker } from "node:worker_threads";
import type { Tensor } from "../../src/index.ts";
import type { Loss } from "./peers.ts";
import type { Ranks } from "./ranks.ts";
import {
  bucketBytes,
  buckets,
  type Command,
  commands,
  controlBytes,
  issue,
  stagingBytes,
  word,
} from "./ring.ts";
import type { Report, Start } from "./worker.ts";

/** Seconds for which a rank that is alive may be behind, in multiples of the silence that is allowed: in a step, and in long work. */
const patienceOfSteps = 20, patienceOfWork = 240;
/** Bytes of a value that fit into the first message. */
const smallBytes = 256;
/** Milliseconds after which a process that does not end by MPI_Abort ends by itself. */
const abortTime = 5000;
/** Milliseconds between two looks at the clock, and how much longer all ranks but the first wait for MPI's end: it speaks first. */
const clock = 1000, turn = 2000;

/** A rank is missing, so the others cannot go on. */
export class RankLostError extends Error {
  /** "RankLostError" */
  override readonly name = "RankLostError";
  /** The ranks that are missing. */
  readonly ranks: readonly number[];

  /** Makes the error. @param ranks those that are missing */
  constructor(message: string, ranks: readonly number[]) {
    super(message);
    this.ranks = ranks;
  }
}

/** A part of a tensor in a bucket, in numbers of 4 bytes. */
interface Piece {
  readonly tensor: Tensor;
  readonly index: number;
  readonly from: number;
  readonly at: number;
  readonly length: number;
}

/** Ranks that a launcher of MPI has started. */
export class MpiRanks implements Ranks {
  /** The number of this process, from 0. */
  readonly rank: number;
  /** How many processes there are. */
  readonly size: number;
  /** The name and version of the library. */
  readonly library: string;
  readonly #worker: Worker;
  readonly #words: Int32Array;
  readonly #staging: SharedArrayBuffer;
  readonly #silence: number;
  readonly #sum: Command;
  /** What is done last: calls take their turns in the order in which they were made. */
  #last: Promise<unknown> = Promise.resolve();
  #failure: Error | null = null;
  /** Who the ranks are, for messages. */
  #names: readonly string[] = [];
  #work = "a step";

  private constructor(
    worker: Worker,
    { control, staging, silence }: Start,
    { rank, size, library }: Extract<Report, { kind: "begun" }>,
    isFast: boolean,
  ) {
    this.#worker = worker;
    this.#words = new Int32Array(control);
    this.#staging = staging;
    this.#silence = silence;
    this.#sum = isFast ? commands.sumByLibrary : commands.sumInOrder;
    this.rank = rank;
    this.size = size;
    this.library = library;
    worker.on("message", (report: Report) => this.#failure = this.#errorOf(report));
  }

  /** Begins MPI in a thread of its own. @throws if there is no library, or it fails */
  static async open(
    { isFast, ...given }: Omit<Start, "control" | "staging"> & { readonly isFast: boolean },
  ): Promise<MpiRanks> {
    const start: Start = {
      control: new SharedArrayBuffer(controlBytes),
      staging: new SharedArrayBuffer(stagingBytes),
      ...given,
    };
    const script = new URL(import.meta.url.replace(/mpi(\.\w+)$/, "worker$1")); // .js in the package for npm
    const worker = new Worker(script, { workerData: start });
    const wait = start.silence * patienceOfSteps;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const begun = await new Promise<Extract<Report, { kind: "begun" }>>((resolve, reject) => {
      const fail = (message: string) => {
        worker.unref(); // it may wait in MPI_Init forever, which must not keep the process alive
        reject(new Error(message));
      };
      const late =
        `MPI: not all ranks have begun within ${wait} s: one of them may have ended with an error before`;
      timer = setTimeout(() => fail(late), 1000 * wait);
      worker.once("error", reject);
      worker.once("message", (report: Report) => {
        if (report.kind === "begun") resolve(report);
        else fail(report.kind === "error" ? report.message : "MPI: a rank was lost before all had begun");
      });
    }).finally(() => clearTimeout(timer));
    return new MpiRanks(worker, start, begun, isFast);
  }

  /** Whether this is rank 0. */
  get isFirst(): boolean {
    return this.rank === 0;
  }

  /** Tells the ranks what the others are called, such as "host, process 123". */
  setNames(names: readonly string[]): void {
    this.#names = names;
  }

  /** A rank in words. */
  nameOf(rank: number): string {
    return `rank ${rank}${this.#names[rank] ? ` (${this.#names[rank]})` : ""}`;
  }

  #errorOf(report: Report): Error | null {
    if (report.kind === "begun") return null;
    return report.kind === "error" ? new Error(report.message) : this.#lossOf(report.loss);
  }

  #lossOf({ ranks, seconds, isSilent }: Loss): RankLostError {
    const who = ranks.map((rank) => this.nameOf(rank)).join(", ") || "some rank";
    const text = isSilent
      ? `nothing was heard from ${who} for ${
        seconds.toFixed(0)
      } s during ${this.#work}: the process was stopped, or the ` +
        "network no longer reaches it"
      : `${who} did not reach ${this.#work} within ${seconds.toFixed(0)} s, although the process is alive`;
    return new RankLostError(text, ranks);
  }

  /**
   * Waits until an order is done.
   * @param limit milliseconds that it may take after all work is done @returns false if it takes longer
   */
  async #until(number: number, limit = Infinity): Promise<boolean> {
    let worked = performance.now();
    while (true) {
      const done = Atomics.load(this.#words, word.done), now = performance.now();
      if (done >= number) return true;
      if (Atomics.load(this.#words, word.failed)) throw await this.#reason();
      if (!Atomics.load(this.#words, word.ending)) worked = now;
      if (now - worked > limit) return false;
      const { async: isAsync, value } = Atomics.waitAsync(this.#words, word.done, done, clock);
      if (isAsync) await value;
    }
  }

  /** Why MPI's thread has ended; its message may still be on its way. */
  async #reason(): Promise<Error> {
    for (let i = 0; i < 100 && !this.#failure; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    return this.#failure ?? new Error("MPI: the thread that calls it has ended and did not say why");
  }

  #issue(command: Command, offset: number, count: number, work?: string): number {
    this.#work = work ?? "a step";
    const patience = Math.ceil(this.#silence * (work === undefined ? patienceOfSteps : patienceOfWork));
    return issue(this.#words, { command, offset, count, patience });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  /** See `Ranks`. */
  sum(tensors: readonly Tensor[]): Promise<void> {
    return this.#inTurn(async () => {
      const sizes = tensors.map(({ size }) => size);
      const about = `${sizes.reduce((sum, size) => sum + size, 0)} numbers in ${tensors.length} tensors`;
      const all = await this.#gatherTexts(about);
      const other = all.findIndex((one) => one !== about);
      if (other >= 0) {
        throw new Error(
          `sum: rank ${this.rank}, this one, sums ${about}, but rank ${other} sums ${all[other]}`,
        );
      }
      await this.#sumBuckets(tensors);
    });
  }

  async #sumBuckets(tensors: readonly Tensor[]): Promise<void> {
    // a GPU takes as long for one read as for many; memory of the CPU is copied when its turn comes
    const values = tensors.map((tensor) => tensor.backend.peek ? null : tensor.floats());
    const flying: (() => Promise<void>)[] = [];
    for (const [n, pieces] of packed(tensors, bucketBytes / 4).entries()) {
      if (flying.length === buckets) await flying.shift()!();
      const offset = 2 * bucketBytes * (n % buckets);
      const floats = new Float32Array(this.#staging, offset, bucketBytes / 4);
      for (const { tensor, index, from, at, length } of pieces) {
        const all = await values[index];
        const { buffer, offset: first } = tensor.slot;
        const part = all?.subarray(from, from + length) ??
          tensor.backend.peek!(buffer, "f32", first + from, length);
        floats.set(part, at);
      }
      const { at, length } = pieces[pieces.length - 1], end = at + length;
      const padded = Math.ceil(end / this.size) * this.size; // so that all slices are equally long
      floats.fill(0, end, padded);
      const number = this.#issue(this.#sum, offset, 4 * padded);
      flying.push(async () => {
        await this.#until(number);
        for (const { tensor, from, at, length } of pieces) {
          tensor.write(floats.slice(at, at + length), from);
        }
      });
    }
    for (const land of flying) await land();
  }

  /** See `Ranks`. */
  broadcast(tensors: readonly Tensor[]): Promise<void> {
    return this.#inTurn(async () => {
      for (const tensor of tensors) {
        const values = this.isFirst ? await tensor.data() : null;
        for (let from = 0; from < tensor.size; from += bucketBytes / 4) {
          const length = Math.min(bucketBytes / 4, tensor.size - from);
          const staged = tensor.dtype === "i32"
            ? new Int32Array(this.#staging, 0, length)
            : new Float32Array(this.#staging, 0, length);
          if (values) staged.set(values.subarray(from, from + length));
          await this.#until(this.#issue(commands.broadcast, 0, 4 * length));
          if (!values) tensor.write(staged.slice(), from);
        }
      }
    });
  }

  /** See `Ranks`. */
  gather<T>(value: T, work?: string): Promise<T[]> {
    return this.#inTurn(async () => {
      const all = await this.#gatherBytes(new Uint8Array(v8.serialize(value)), work);
      return all.map((bytes) => v8.deserialize(bytes) as T);
    });
  }

  /** `gather` for texts, which runtimes that write other values differently understand too. */
  gatherTexts(text: string): Promise<string[]> {
    return this.#inTurn(() => this.#gatherTexts(text));
  }

  async #gatherTexts(text: string): Promise<string[]> {
    const all = await this.#gatherBytes(new TextEncoder().encode(text));
    return all.map((bytes) => new TextDecoder().decode(bytes));
  }

  /** The first message has the length and, if that is short, all bytes. Longer ones follow in blocks. */
  async #gatherBytes(bytes: Uint8Array, work?: string): Promise<Buffer[]> {
    const first = new Uint8Array(smallBytes);
    new DataView(first.buffer).setUint32(0, bytes.length, true);
    first.set(bytes.subarray(0, smallBytes - 4), 4);
    const heads = await this.#exchange(first, work);
    const lengths = heads.map((head) => new DataView(head.buffer).getUint32(0, true));
    const parts: Uint8Array[][] = heads.map((head) => [head.subarray(4)]);
    const longest = Math.max(...lengths), block = Math.floor(bucketBytes / this.size);
    for (let from = smallBytes - 4; from < longest; from += block) {
      const mine = new Uint8Array(Math.min(block, longest - from));
      mine.set(bytes.subarray(from, from + mine.length));
      for (const [rank, part] of (await this.#exchange(mine, work)).entries()) parts[rank].push(part);
    }
    return parts.map((all, rank) => Buffer.concat(all).subarray(0, lengths[rank]));
  }

  /** Gathers a block of the same length from each rank. */
  async #exchange(mine: Uint8Array, work?: string): Promise<Uint8Array[]> {
    const { length } = mine, all = new Uint8Array(this.#staging, 0, length * this.size);
    all.set(mine, this.rank * length);
    await this.#until(this.#issue(commands.gather, 0, length, work));
    return Array.from({ length: this.size }, (_, rank) => all.slice(rank * length, (rank + 1) * length));
  }

  /** See `Ranks`. */
  async first<T>(what: string, work: () => T | Promise<T>): Promise<T> {
    let result: { value?: T; message?: string } | null = null, failure: unknown;
    if (this.isFirst) {
      try {
        result = { value: await work() };
      } catch (error) {
        failure = error;
        result = { message: error instanceof Error ? error.message : String(error) };
      }
    }
    const { value, message } = (await this.gather(result, what))[0]!;
    if (message === undefined) return value as T;
    throw this.isFirst ? failure : new Error(message);
  }

  /**
   * Ends MPI, after all ranks have come here.
   * @returns null, or a sentence to print if MPI itself did not end although all work is done
   */
  close(): Promise<string | null> {
    return this.#inTurn(async () => {
      const limit = 1000 * this.#silence + (this.isFirst ? 0 : turn);
      if (await this.#until(this.#issue(commands.close, 0, 0, "the end"), limit)) {
        await this.#worker.terminate();
        return null;
      }
      this.#worker.unref(); // nothing ends a thread inside MPI, and it must not keep the process alive
      return `all work is done, but ${this.library} did not end within ${this.#silence} s, so the processes end without it`;
    });
  }

  /** Ends MPI's thread alone, where what was begun cannot be used. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  /** Ends all ranks at once, this one last, because of an error that only some of them may have. Never returns. */
  async abort(): Promise<never> {
    const { promise, resolve } = Promise.withResolvers<void>();
    Atomics.store(this.#words, word.abort, 1);
    for (const waitedFor of [word.abort, word.issued]) Atomics.notify(this.#words, waitedFor);
    setTimeout(resolve, abortTime);
    await promise;
    return process.exit(1);
  }
}

/** Cuts tensors into pieces that fill buckets of some numbers, from the last tensor on: backward reaches it first. */
function packed(tensors: readonly Tensor[], capacity: number): Piece[][] {
  const packed: Piece[][] = [];
  let fill = capacity;
  for (let index = tensors.length - 1; index >= 0; index--) {
    const tensor = tensors[index];
    for (let from = 0; from < tensor.size;) {
      if (fill === capacity) {
        packed.push([]);
        fill = 0;
      }
      const length = Math.min(tensor.size - from, capacity - fill);
      packed[packed.length - 1].push({ tensor, index, from, at: fill, length });
      from += length;
      fill += length;
    }
  }
  return packed;
}
