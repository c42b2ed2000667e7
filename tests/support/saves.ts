// Checkpoints whose values are the number of the save, for the tests of atomic writing.
import { join } from "node:path";
import { openCheckpoint, writeFlax, writeSafetensors, writeTorch } from "../../data/index.ts";
import { tinyConfig } from "./goldens.ts";

export const savedNames = ["last.safetensors", "last.ckpt", "flax.msgpack"] as const;

/** Writes one file of each format, with tensors of `size` values that are all `version`. Yields each path when it is done. */
export async function* saveAll(folder: string, size: number, version: number): AsyncGenerator<string> {
  const tensors = ["encoder.a.bias", "encoder.b.bias", "decoder.c.bias"].map((name) => {
    return { name, shape: [size], dtype: "f32", data: () => new Float32Array(size).fill(version) } as const;
  });
  const [safetensors, ckpt, flax] = savedNames;
  await writeSafetensors(join(folder, safetensors), tensors);
  yield safetensors;
  await writeTorch(join(folder, ckpt), new Map(tensors.map((tensor) => [tensor.name, tensor])));
  yield ckpt;
  await writeFlax(join(folder, flax), tensors, tinyConfig);
  yield flax;
}

/** The number of the save that wrote a file. @throws if it cannot be read, or has values of several saves. */
export async function versionOf(path: string): Promise<number> {
  const file = await openCheckpoint(path);
  try {
    const seen = new Set<number>();
    for (const t of file.tensors.values()) {
      for (const value of await t.read()) seen.add(Number(value));
    }
    const [version = NaN] = seen;
    if (seen.size !== 1 || file.tensors.size !== 3) {
      throw new Error(`${path} has values of ${seen.size} saves: ${[...seen]}`);
    }
    return version;
  } finally {
    await file.close();
  }
}
