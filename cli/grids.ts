// encode --grids: pictures of the token grids.
import { stat } from "node:fs/promises";
import { dirname, extname } from "node:path";
import { makeFolder } from "../data/files/atomic.ts";
import { savePng, tokenGrid, type TokenRecord } from "../data/index.ts";
import type { VQGAN } from "../nn/index.ts";
import { outputPaths } from "./outputs.ts";

/**
 * Draws token grids next to the token file, in the subfolders of their pictures. Those of a shard are in a folder of its name,
 * because other shards may have pictures of the same names.
 */
export class Grids {
  readonly #paths: ReadonlyMap<string, string>;
  readonly #tile: number;

  constructor(out: string, isShard: boolean, names: readonly string[], { factor }: VQGAN) {
    const folder = isShard ? out.slice(0, -extname(out).length) : dirname(out);
    const paths = outputPaths(folder, names, ".tokens.png");
    this.#paths = new Map(names.map((name, i) => [name, paths[i]]));
    this.#tile = Math.max(factor, 32);
  }

  async draw({ file, encoding, grid }: TokenRecord): Promise<void> {
    const path = this.#paths.get(file);
    if (path === undefined) return; // a picture that the sources do not have any more
    await makeFolder(dirname(path));
    await savePng(path, await tokenGrid(encoding, grid, { tile: this.#tile, numbers: true }));
  }

  /** Draws a grid that a call that was stopped has left out. */
  async drawMissing(record: TokenRecord): Promise<void> {
    const path = this.#paths.get(record.file);
    if (path !== undefined && await stat(path).catch(() => null) === null) await this.draw(record);
  }
}
