// A colour for each token, so that codes that are close to each other look alike: the place of the code along the three
// principal axes of the codebook, as red, green and blue.
import { mapOf } from "./codebook.ts";
import type { Engine } from "./engine.ts";

/** @returns three bytes for each token */
export async function codeColors(engine: Engine, _: null): Promise<Uint8Array> {
  const map = await mapOf(engine),
    axes = map.axes.length,
    places = map.places(),
    count = places.length / axes;
  const colors = new Uint8Array(count * 3).fill(128);
  for (let axis = 0; axis < axes; axis++) {
    let squares = 0;
    for (let code = 0; code < count; code++) squares += places[code * axes + axis] ** 2;
    const spread = Math.sqrt(squares / count) || 1;
    for (let code = 0; code < count; code++) {
      colors[code * 3 + axis] = 30 + 215 / (1 + Math.exp(-1.2 * places[code * axes + axis] / spread));
    }
  }
  return colors;
}
