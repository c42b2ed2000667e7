// Reads numbers from bytes one by one, by their definitions. The oracles share it; it shares nothing with the readers.

/** What an oracle finds of a tensor: its values row by row, as far as they are compared. */
export interface Found {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly values: readonly (number | bigint)[];
}

/** At most this many values of a tensor are compared. */
export const mostCompared = 4096;

/** A float of `bits` bits, of which `mantissa` are the mantissa's. */
function float(bits: number, width: number, mantissa: number, hasInfinity = true): number {
  const exponentBits = width - 1 - mantissa, bias = 2 ** (exponentBits - 1) - 1;
  const sign = Math.floor(bits / 2 ** (width - 1)) === 1 ? -1 : 1;
  const exponent = Math.floor(bits / 2 ** mantissa) % 2 ** exponentBits, fraction = bits % 2 ** mantissa;
  const isTop = exponent === 2 ** exponentBits - 1;
  if (isTop && hasInfinity) return fraction === 0 ? sign * Infinity : NaN;
  if (isTop && fraction === 2 ** mantissa - 1) return NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias - mantissa);
  return sign * (1 + fraction / 2 ** mantissa) * 2 ** (exponent - bias);
}

const readers: Readonly<
  Record<string, [size: number, read: (view: DataView, at: number) => number | bigint]>
> = {
  f64: [8, (view, at) => view.getFloat64(at, true)],
  f32: [4, (view, at) => float(view.getUint32(at, true), 32, 23)],
  f16: [2, (view, at) => float(view.getUint16(at, true), 16, 10)],
  bf16: [2, (view, at) => float(view.getUint16(at, true), 16, 7)],
  f8e4m3: [1, (view, at) => float(view.getUint8(at), 8, 3, false)],
  f8e5m2: [1, (view, at) => float(view.getUint8(at), 8, 2)],
  i64: [8, (view, at) => view.getBigInt64(at, true)],
  u64: [8, (view, at) => view.getBigUint64(at, true)],
  i32: [4, (view, at) => view.getInt32(at, true)],
  u32: [4, (view, at) => view.getUint32(at, true)],
  i16: [2, (view, at) => view.getInt16(at, true)],
  u16: [2, (view, at) => view.getUint16(at, true)],
  i8: [1, (view, at) => view.getInt8(at)],
  u8: [1, (view, at) => view.getUint8(at)],
  bool: [1, (view, at) => view.getUint8(at)],
};

export const sizeOfItem = (dtype: string): number => readers[dtype][0];

/**
 * Reads a tensor whose element at an index lies at the sum of index times stride.
 * @param at where element 0 begins, in bytes
 */
export function strided(
  bytes: Uint8Array,
  dtype: string,
  at: number,
  shape: readonly number[],
  stride: readonly number[],
): Found {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), [size, read] = readers[dtype];
  const count = Math.min(mostCompared, shape.reduce((a, b) => a * b, 1));
  const values = Array.from({ length: count }, (_, i) => {
    let rest = i, place = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      place += (rest % shape[axis]) * stride[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    return read(view, at + place * size);
  });
  return { dtype, shape, values };
}

/** The strides of a tensor whose rows follow each other. */
export const rowMajor = (shape: readonly number[]): number[] =>
  shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
