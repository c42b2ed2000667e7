// Where the writers put their bytes, so that they need not know of a disk.

/** Takes bytes from front to back. data/files/save.ts has the one on the disk. */
export interface Sink {
  /** Takes `bytes`, which the writer may use again once the promise is kept. */
  write(bytes: Uint8Array): Promise<void>;
}
