// Signs of life. MPI's thread sends one to every other rank each second, whatever the training does, and looks for theirs. This
// distinguishes a process that was stopped, or that the network no longer reaches, from one that is merely slow.
import type { Mpi } from "./library.ts";

/** What went wrong among the ranks. */
export interface Loss {
  /** The ranks that are missing. */
  readonly ranks: readonly number[];
  /** For how many seconds. */
  readonly seconds: number;
  /** Whether nothing was heard of them. Otherwise they are alive, and have not come to where the others wait. */
  readonly isSilent: boolean;
}

/** Milliseconds between two signs of life, and between two looks for those of others. */
const beatEvery = 1000, lookEvery = 100;
/** A pause of this many milliseconds between two looks means that this process itself was stopped for a while. */
const suspended = 5000;
/** The tag of the messages. */
const tag = 2211;
/** A rank's last word: a random number below zero, so that no other program of the same launcher has the same one. */
const drawFarewell = () => -1 - Math.floor(Math.random() * 2 ** 31);

/** One message on its way, or waited for: how many orders the rank has done. */
interface Message {
  readonly value: Int32Array;
  readonly address: bigint;
  readonly request: bigint;
  isOpen: boolean;
}

interface Peer {
  readonly rank: number;
  readonly sent: Message;
  readonly received: Message;
  heard: number;
  done: number;
  isLeft: boolean;
}

/** The other ranks, as one rank hears of them. */
export class Peers {
  readonly #mpi: Mpi;
  readonly #test: (request: bigint) => boolean;
  readonly #peers: readonly Peer[];
  /** Milliseconds without a sign of life after which a rank is missing. */
  readonly #silence: number;
  #looked: number;
  #beaten = -Infinity;
  readonly #farewell = drawFarewell();
  #isLeaving = false;

  /** @param test whether a request is done */
  constructor(
    mpi: Mpi,
    { rank, size, silence }: { readonly rank: number; readonly size: number; readonly silence: number },
    test: (request: bigint) => boolean,
  ) {
    this.#mpi = mpi;
    this.#test = test;
    this.#silence = silence;
    this.#looked = performance.now();
    const message = (): Message => {
      const memory = new SharedArrayBuffer(16), value = new Int32Array(memory, 0, 1);
      return {
        value,
        address: mpi.at(value),
        request: mpi.at(new BigInt64Array(memory, 8, 1)),
        isOpen: false,
      };
    };
    const others = Array.from({ length: size }, (_, i) => i).filter((i) => i !== rank);
    this.#peers = others.map((rank) => ({
      rank,
      sent: message(),
      received: message(),
      heard: this.#looked,
      done: 0,
      isLeft: false,
    }));
    for (const peer of this.#peers) this.#listen(peer);
  }

  #listen({ rank, received }: Peer): void {
    const { world, byte } = this.#mpi.constants;
    this.#mpi.call("MPI_Irecv", received.address, 4, byte, rank, tag, world, received.request);
    received.isOpen = true;
  }

  #send({ rank, sent }: Peer, done: number): void {
    const { world, byte } = this.#mpi.constants;
    sent.value[0] = done;
    this.#mpi.call("MPI_Isend", sent.address, 4, byte, rank, tag, world, sent.request);
    sent.isOpen = true;
  }

  /**
   * Sends and reads signs of life, if it is time to. @param done how many orders this rank has done
   * @returns who is silent; null if nobody is
   */
  look(done: number): Loss | null {
    const now = performance.now(), gap = now - this.#looked;
    if (gap < lookEvery && !this.#isLeaving) return null;
    this.#looked = now;
    const isTime = now - this.#beaten >= beatEvery || this.#isLeaving;
    if (isTime) this.#beaten = now;
    for (const peer of this.#peers) {
      if (gap > suspended) peer.heard += gap; // they may have been suspended together with this one
      const { sent, received } = peer;
      while (received.isOpen && this.#test(received.request)) {
        received.isOpen = false;
        peer.heard = now;
        const [value] = received.value;
        if (value < 0) break;
        peer.done = value;
        this.#listen(peer);
      }
      if (sent.isOpen) sent.isOpen = !this.#test(sent.request);
      if (!isTime || sent.isOpen || peer.isLeft) continue;
      peer.isLeft = this.#isLeaving;
      this.#send(peer, peer.isLeft ? this.#farewell : done);
    }
    const silent = this.#peers.filter(({ heard, received }) =>
      received.isOpen && now - heard > this.#silence
    );
    if (silent.length === 0) return null;
    const seconds = Math.max(...silent.map(({ heard }) => now - heard)) / 1000;
    return { ranks: silent.map(({ rank }) => rank), seconds, isSilent: true };
  }

  /** The ranks that have done less than this one. */
  behind(done: number): number[] {
    return this.#peers.filter((peer) => peer.done < done).map(({ rank }) => rank);
  }

  /** Makes the next signs of life the last ones. */
  leave(): void {
    this.#isLeaving = true;
  }

  /** The last word of rank 0, which all ranks know when all have left. */
  get lastWordOfFirst(): number {
    return this.#peers.find(({ rank }) => rank === 0)?.received.value[0] ?? this.#farewell;
  }

  /** Whether all others have said farewell, and nothing is on its way. */
  get haveLeft(): boolean {
    return this.#peers.every(({ sent, received, isLeft }) => isLeft && !sent.isOpen && !received.isOpen);
  }
}
