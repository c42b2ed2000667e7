// Floats of 16 bits (IEEE 754 binary16): by the runtime's Float16Array where it has one, else by their bits (Node before 24).

/** The values of halves, exactly. */
export function floatsOfHalves(
  halves: Uint16Array<ArrayBuffer>,
  native = "Float16Array" in globalThis,
): Float32Array<ArrayBuffer> {
  if (native) return new Float32Array(new Float16Array(halves.buffer, halves.byteOffset, halves.length));
  const floats = new Float32Array(halves.length), bits = new Uint32Array(floats.buffer);
  halves.forEach((half, i) => {
    const sign = (half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent === 0) floats[i] = (sign ? -1 : 1) * fraction * 2 ** -24;
    else bits[i] = sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (fraction << 13);
  });
  return floats;
}

/** The nearest halves, ties to even; beyond 65504 infinite. */
export function halvesOf(
  floats: Float32Array<ArrayBuffer>,
  native = "Float16Array" in globalThis,
): Uint16Array<ArrayBuffer> {
  if (native) return new Uint16Array(new Float16Array(floats).buffer);
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  return Uint16Array.from(bits, (f) => {
    const sign = (f >>> 16) & 0x8000, exponent = ((f >>> 23) & 255) - 112, fraction = f & 0x7fffff;
    if (exponent === 143) return sign | 0x7c00 | (fraction ? 0x200 : 0);
    if (exponent < -10) return sign;
    // The digits that are kept, and those that decide the rounding. Rounding up may carry into the exponent, which is right.
    const dropped = exponent <= 0 ? 14 - exponent : 13,
      digits = exponent <= 0 ? fraction | 0x800000 : fraction;
    const kept = digits >>> dropped, rest = digits & ((1 << dropped) - 1), tie = 1 << (dropped - 1);
    const up = rest > tie || (rest === tie && (kept & 1) === 1) ? 1 : 0;
    const half = (Math.max(exponent, 0) << 10) + kept + up;
    return sign | Math.min(half, 0x7c00);
  });
}
