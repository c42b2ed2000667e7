// How long a step takes on several ranks: a model with few numbers, to compare with what bench/ranks.ts measures.
//
//   on the wire   2 S (n - 1) / n bytes leave each rank: once as slices, once as sums (S bytes of gradients, n ranks)
//   at the ranks  the gradients are copied into buffers and out again, and added: `perByte` seconds for each of the S bytes
//   messages      2 (n - 1) for each bucket of 16 MiB, `latency` seconds each
//   step          computing + max(0, wire + ranks + messages - what the discriminator's pass hides)
//
// It assumes that the network carries its full rate in both directions between all pairs at once, that all ranks compute
// equally long, and that nothing of the copying is hidden behind the wire, so it is pessimistic where buckets overlap.

/** What the time depends on. Times are in seconds. */
export interface Setting {
  readonly ranks: number;
  /** Bytes a second that leave a rank. */
  readonly bandwidth: number;
  /** The time of a step without communication. */
  readonly computing: number;
  /** The part of it during which the autoencoder's gradients are on their way. */
  readonly hidden: number;
  /** Copying and adding one byte of gradients. */
  readonly perByte: number;
  readonly latency: number;
}

/** Bytes of the gradients of f16-16384: 76.07 million numbers of the autoencoder and 0.66 million of its discriminator. */
export const gradientBytes = 4 * (76_070_000 + 660_000);
const bucketBytes = 16 * 2 ** 20;

/** Seconds for summing the gradients over all ranks. */
export function communication({ ranks: n, bandwidth, perByte, latency }: Setting): number {
  const wire = 2 * gradientBytes * (n - 1) / n / bandwidth;
  const messages = 2 * (n - 1) * Math.ceil(gradientBytes / bucketBytes) * latency;
  return wire + gradientBytes * perByte + messages;
}

/** Seconds of a step. */
export function stepTime(setting: Setting): number {
  return setting.computing + Math.max(0, communication(setting) - setting.hidden);
}
