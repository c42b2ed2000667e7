// The colour of a pixel in two numbers, so that colours can be quantized where everyone can see it: how much bluer and how much
// redder the pixel is than grey of the same brightness (B - Y and R - Y, from which televisions make Cb and Cr; Y as in
// BT.601).

/** The parts of red, green and blue in the brightness Y. */
const [red, green, blue] = [0.299, 0.587, 0.114];

/**
 * The brightness of each pixel, from 0 to 1, and its colour, x (bluer than grey) and y (redder), from -0.9 to 0.9.
 * @param pixels bytes, red, green and blue of each pixel
 */
export function chromaOf(
  pixels: Uint8Array,
): { readonly brightness: Float32Array; readonly colors: Float32Array } {
  const count = pixels.length / 3;
  const brightness = new Float32Array(count), colors = new Float32Array(2 * count);
  for (let i = 0; i < count; i++) {
    const [r, g, b] = [0, 1, 2].map((c) => pixels[3 * i + c] / 255);
    brightness[i] = red * r + green * g + blue * b;
    colors[2 * i] = b - brightness[i];
    colors[2 * i + 1] = r - brightness[i];
  }
  return { brightness, colors };
}

/** Red, green and blue from 0 to 255 of a brightness and a colour. What no screen can show is clamped. */
export function rgbOf(brightness: number, x: number, y: number): [red: number, green: number, blue: number] {
  const g = brightness - (red * y + blue * x) / green;
  const byte = (value: number) => Math.round(255 * Math.min(1, Math.max(0, value)));
  return [byte(brightness + y), byte(g), byte(brightness + x)];
}

/** The picture with the brightness that it had and the colours of the codes that stand for its pixels. */
export function recolored(brightness: Float32Array, tokens: Int32Array, codes: Float32Array): Uint8Array {
  const pixels = new Uint8Array(3 * brightness.length);
  for (let i = 0; i < brightness.length; i++) {
    const code = tokens[i];
    pixels.set(rgbOf(brightness[i], codes[2 * code], codes[2 * code + 1]), 3 * i);
  }
  return pixels;
}
