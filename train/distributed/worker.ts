// The only thread of its process that calls MPI. It takes orders from the ring (ring.ts). While it waits for MPI it asks again
// and again whether the operation is done, so that it can also listen to the other ranks (peers.ts). In between it sleeps,
// because the training needs the cores.
import { parentPort, workerData } from "node:worker_threads";
import { Mpi } from "./library.ts";
import { meet, mustMeet } from "./meeting.ts";
import { type Loss, Peers } from "./peers.ts";
import { bucketBytes, commands, orderAt, word } from "./ring.ts";

/** What the thread is started with. */
export interface Start {
  readonly control: SharedArrayBuffer;
  readonly staging: SharedArrayBuffer;
  /** The libraries to try. */
  readonly paths: readonly string[];
  /** What to do if none of them is there. */
  readonly wayOut: string;
  /** Seconds without a sign of life after which a rank is missing. */
  readonly silence: number;
}

/** What the thread tells: that MPI has begun, or why it ends. */
export type Report =
  | { readonly kind: "begun"; readonly rank: number; readonly size: number; readonly library: string }
  | { readonly kind: "lost"; readonly loss: Loss }
  | { readonly kind: "error"; readonly message: string };

/** MPI_THREAD_FUNNELED: only the thread that began MPI calls it. */
const funneled = 1;
/** Milliseconds of polling without sleep, the pause after that, and the pause once the others are known to be late. */
const eager = 2, shortPause = 0.05, late = 100, longPause = 1;
/** Milliseconds between two signs of life while there is nothing to do. */
const idle = 250;

class RankLost extends Error {
  readonly loss: Loss;

  constructor(loss: Loss) {
    super("a rank is missing");
    this.loss = loss;
  }
}

/** MPI in one thread. */
class Speaker {
  readonly rank: number;
  readonly size: number;
  readonly mpi: Mpi;
  readonly #words: Int32Array;
  readonly #staging: SharedArrayBuffer;
  readonly #base: bigint;
  readonly #peers: Peers;
  /** The memory of the request, at `#request`: as long as it is held here, it is not freed. */
  readonly #requestWord = new BigInt64Array(new SharedArrayBuffer(8));
  readonly #request: bigint;
  readonly #flag = new Int32Array(new SharedArrayBuffer(4));
  readonly #flagAt: bigint;
  /** A word that nobody changes or wakes, to sleep on. */
  readonly #still = new Int32Array(new SharedArrayBuffer(4));
  #done = 0;

  constructor(mpi: Mpi, words: Int32Array, staging: SharedArrayBuffer, silence: number) {
    const number = new Int32Array(new SharedArrayBuffer(4)), numberAt = mpi.at(number);
    const { world, errorsReturn } = mpi.constants;
    this.mpi = mpi;
    this.#words = words;
    this.#staging = staging;
    this.#base = mpi.at(new Uint8Array(staging));
    this.#request = mpi.at(this.#requestWord);
    this.#flagAt = mpi.at(this.#flag);
    mpi.call("MPI_Init_thread", 0n, 0n, funneled, numberAt);
    mpi.call("MPI_Comm_set_errhandler", world, errorsReturn);
    mpi.call("MPI_Comm_rank", world, numberAt);
    this.rank = number[0];
    mpi.call("MPI_Comm_size", world, numberAt);
    this.size = number[0];
    const { rank, size } = this;
    this.#peers = new Peers(mpi, { rank, size, silence }, (request) => this.#isDone(request));
  }

  #isDone(request: bigint): boolean {
    this.mpi.call("MPI_Test", request, this.#flagAt, this.mpi.family.noStatus);
    return this.#flag[0] !== 0;
  }

  /** Takes orders until the last one. */
  serve(): void {
    while (true) {
      if (Atomics.load(this.#words, word.issued) === this.#done) {
        Atomics.wait(this.#words, word.issued, this.#done, idle);
        this.#look();
        continue;
      }
      const order = orderAt(this.#words, this.#done + 1), { patience } = order;
      if (order.command === commands.close) this.#close(patience);
      else this.#carryOut(order);
      this.#done++;
      Atomics.store(this.#words, word.done, this.#done);
      Atomics.notify(this.#words, word.done);
      if (order.command === commands.close) return;
    }
  }

  #look(): void {
    if (Atomics.load(this.#words, word.abort)) this.mpi.call("MPI_Abort", this.mpi.constants.world, 1);
    const loss = this.#peers.look(this.#done);
    if (loss) throw new RankLost(loss);
  }

  #carryOut({ command, offset, count, patience }: ReturnType<typeof orderAt>): void {
    const { mpi, size } = this, { world, float, byte, sum } = mpi.constants, { inPlace } = mpi.family;
    const at = this.#base + BigInt(offset), request = this.#request;
    if (command === commands.sumInOrder) this.#sumInOrder(offset, count, patience);
    else if (command === commands.sumByLibrary) {
      mpi.call("MPI_Iallreduce", inPlace, at, count / 4, float, sum, world, request);
      this.#await(patience);
    } else if (command === commands.gather) {
      mpi.call("MPI_Iallgather", inPlace, 0, byte, at, count, byte, world, request);
      this.#await(patience);
    } else if (size > 1) {
      mpi.call("MPI_Ibcast", at, count, byte, 0, world, request);
      this.#await(patience);
    }
  }

  /** Every rank gets one slice of all ranks, adds it up from rank 0 on, and gives the sum to all. */
  #sumInOrder(offset: number, count: number, patience: number): void {
    const { mpi, rank, size } = this, { world, float } = mpi.constants, request = this.#request;
    const at = this.#base + BigInt(offset), others = offset + bucketBytes, slice = count / 4 / size;
    mpi.call(
      "MPI_Ialltoall",
      ...[at, slice, float, this.#base + BigInt(others), slice, float, world, request],
    );
    this.#await(patience);
    const parts = new Float32Array(this.#staging, others, count / 4);
    const mine = new Float32Array(this.#staging, offset + 4 * rank * slice, slice);
    mine.set(parts.subarray(0, slice));
    for (let from = slice; from < parts.length; from += slice) {
      for (let k = 0; k < slice; k++) mine[k] += parts[from + k];
    }
    mpi.call("MPI_Iallgather", mpi.family.inPlace, 0, float, at, slice, float, world, request);
    this.#await(patience);
  }

  /** Waits for the request. @throws RankLost if a rank is silent, or behind for longer than `patience` seconds */
  #await(patience: number): void {
    const begun = performance.now();
    while (!this.#isDone(this.#request)) {
      const waited = performance.now() - begun;
      if (waited > eager) this.#sleep(waited > late ? longPause : shortPause);
      this.#look();
      if (waited > 1000 * patience) {
        throw new RankLost({ ranks: this.#peers.behind(this.#done), seconds: patience, isSilent: false });
      }
    }
  }

  #sleep(milliseconds: number): void {
    Atomics.wait(this.#still, 0, 0, milliseconds);
  }

  /** Ends MPI after all have come here. A rank that ended earlier with an error would get the others killed. */
  #close(patience: number): void {
    this.mpi.call("MPI_Ibarrier", this.mpi.constants.world, this.#request);
    this.#await(patience);
    Atomics.store(this.#words, word.ending, 1);
    this.#peers.leave();
    while (!this.#peers.haveLeft) {
      this.#sleep(longPause);
      this.#look();
    }
    if (mustMeet(this.mpi)) meet(this.mpi, this, this.#peers.lastWordOfFirst, (time) => this.#sleep(time));
    this.mpi.call("MPI_Finalize");
  }
}

const { control, staging, paths, wayOut, silence } = workerData as Start;
const words = new Int32Array(control);
const report = (message: Report) => parentPort!.postMessage(message);
let speaker: Speaker | null = null;
try {
  speaker = new Speaker(await Mpi.open(paths, wayOut), words, staging, 1000 * silence);
  report({ kind: "begun", rank: speaker.rank, size: speaker.size, library: speaker.mpi.version });
  speaker.serve();
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  report(error instanceof RankLost ? { kind: "lost", loss: error.loss } : { kind: "error", message });
  Atomics.store(words, word.failed, 1);
  Atomics.notify(words, word.done);
  if (speaker !== null) {
    Atomics.wait(words, word.abort, 0); // until the training has said why it ends
    speaker.mpi.call("MPI_Abort", speaker.mpi.constants.world, 1);
  }
}
