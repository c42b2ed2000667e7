// How far one token reaches: the picture is decoded twice, with the token and with another one in its place, and compared.
import { asyncScope, tensor } from "../../core.ts";
import type { Engine } from "./engine.ts";

/** Where the two pictures differ. */
export interface Reach {
  readonly width: number;
  readonly height: number;
  /** The mean absolute difference of red, green and blue for each pixel, in units of the pixels' range. */
  readonly change: Float32Array;
  /** The share of the whole change that lies in the token's own tile. */
  readonly own: number;
  /** The share that lies in the 3x3 tiles around it, its own among them. */
  readonly near: number;
}

/** @param replacement the token that takes the place of the one at `place` */
export async function reach(
  { model }: Engine,
  { tokens, grid, place, replacement }: {
    readonly tokens: Int32Array;
    readonly grid: readonly [rows: number, columns: number];
    readonly place: number;
    readonly replacement: number;
  },
): Promise<Reach> {
  const [rows, columns] = grid, { factor } = model, height = rows * factor, width = columns * factor;
  const both = new Int32Array(tokens.length * 2);
  both.set(tokens);
  both.set(tokens, tokens.length);
  both[tokens.length + place] = replacement;
  const change = await asyncScope(async () => {
    const made = model.decodeTokens(tensor(both, [2, rows, columns])).clamp(
      model.range === "signed" ? -1 : 0,
      1,
    );
    const [first, second] = [0, 1].map((at) => made.slice([at, 0, 0, 0], [at + 1, height, width, 3]));
    return await second.sub(first).abs().mean(-1).floats();
  });
  const row = Math.floor(place / columns), column = place % columns;
  /** The change in tiles at most `far` away. */
  const within = (far: number): number => {
    let sum = 0;
    for (let y = Math.max(0, row - far) * factor; y < Math.min(rows, row + far + 1) * factor; y++) {
      for (
        let x = Math.max(0, column - far) * factor;
        x < Math.min(columns, column + far + 1) * factor;
        x++
      ) {
        sum += change[y * width + x];
      }
    }
    return sum;
  };
  const all = within(Math.max(rows, columns)) || 1;
  return { width, height, change, own: within(0) / all, near: within(1) / all };
}
