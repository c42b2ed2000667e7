// TensorBoard's events as protobuf: the fields of tensorboard/compat/proto/event.proto, summary.proto and histogram.proto that
// are needed for numbers, pictures and histograms. Readers of all versions know these fields.
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** What an event has besides its time and step. */
export type EventContent =
  /** The first event of a file. */
  | { readonly kind: "version" }
  /** A session begins: TensorBoard forgets all events of this step and later ones. */
  | { readonly kind: "start" }
  | { readonly kind: "scalars"; readonly values: readonly (readonly [tag: string, value: number])[] }
  | {
    readonly kind: "picture";
    readonly tag: string;
    readonly png: Uint8Array;
    readonly width: number;
    readonly height: number;
  }
  | { readonly kind: "histograms"; readonly histograms: readonly (readonly [tag: string, Histogram])[] };

/** How values are distributed. */
export interface Histogram {
  readonly min: number;
  readonly max: number;
  readonly count: number;
  readonly sum: number;
  readonly sumOfSquares: number;
  /** The upper ends of the buckets, and how many values each has. */
  readonly limits: readonly number[];
  readonly counts: readonly number[];
}

const { Bit64, Bit32, Varint, LengthDelimited } = WireType;

/** Encodes an event. @param time in seconds since 1970 */
export function encodeEvent(time: number, step: number, content: EventContent): Uint8Array {
  const event = new BinaryWriter().tag(1, Bit64).double(time).tag(2, Varint).int64(step);
  switch (content.kind) {
    case "version":
      return event.tag(3, LengthDelimited).string("brain.Event:2").finish();
    case "start":
      return event.tag(7, LengthDelimited).fork().tag(1, Varint).int32(1).join().finish();
    case "scalars": {
      event.tag(5, LengthDelimited).fork();
      for (const [tag, value] of content.values) {
        open(event, tag).tag(2, Bit32).float(value).join();
      }
      return event.join().finish();
    }
    case "picture": {
      const { tag, png, width, height } = content;
      open(event.tag(5, LengthDelimited).fork(), tag).tag(4, LengthDelimited).fork()
        .tag(1, Varint).int32(height).tag(2, Varint).int32(width).tag(3, Varint).int32(3) // RGB
        .tag(4, LengthDelimited).bytes(png).join().join();
      return event.join().finish();
    }
    case "histograms": {
      event.tag(5, LengthDelimited).fork();
      for (const [tag, histogram] of content.histograms) {
        const { min, max, count, sum, sumOfSquares, limits, counts } = histogram;
        open(event, tag).tag(5, LengthDelimited).fork();
        [min, max, count, sum, sumOfSquares].forEach((value, i) => event.tag(1 + i, Bit64).double(value));
        for (const [field, values] of [[6, limits], [7, counts]] as const) {
          event.tag(field, LengthDelimited).fork();
          for (const value of values) event.double(value);
          event.join();
        }
        event.join().join();
      }
      return event.join().finish();
    }
  }
}

/** Opens a Summary.Value with a tag. */
function open(event: BinaryWriter, tag: string): BinaryWriter {
  return event.tag(1, LengthDelimited).fork().tag(1, LengthDelimited).string(tag);
}

/** The number of buckets. TensorBoard draws 30. */
const buckets = 60;

/** Counts values in buckets of equal width. @returns null if there are none */
export function histogramOf(values: readonly Float32Array[]): Histogram | null {
  let min = Infinity, max = -Infinity, count = 0, sum = 0, sumOfSquares = 0;
  for (const some of values) {
    for (const value of some) {
      if (value < min) min = value;
      if (value > max) max = value;
      sum += value;
      sumOfSquares += value * value;
    }
    count += some.length;
  }
  if (!Number.isFinite(max - min)) return null;
  const width = (max - min) / buckets, counts = new Array<number>(buckets).fill(0);
  for (const some of values) {
    for (const value of some) {
      counts[width === 0 ? 0 : Math.min(buckets - 1, Math.floor((value - min) / width))]++;
    }
  }
  const limits = counts.map((_, i) => i === buckets - 1 ? max : min + (i + 1) * width);
  return { min, max, count, sum, sumOfSquares, limits, counts };
}
