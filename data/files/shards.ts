// A model in several files, as transformers and diffusers split large ones: an index in JSON says which file has which tensor.
import { basename, dirname, join } from "node:path";
import type { FileContents } from "../formats/file.ts";
import { jsonRecord, record } from "../formats/json.ts";
import { readContents } from "../formats/read.ts";
import { FormatError } from "../formats/source.ts";
import type { StoredTensor } from "../formats/stored_tensor.ts";
import { openFile, readText } from "./source.ts";

/** Limits for damaged indices. */
const maxShards = 1000;
const maxIndex = 2 ** 27;

/** Whether a path is that of an index, such as model.safetensors.index.json. */
export function isIndex(path: string): boolean {
  return /\.index(\.\w+)?\.json$/.test(path);
}

/**
 * Opens all files that an index names, as one.
 * @throws FormatError if the index is damaged, or a file or a tensor that it names is missing
 */
export async function readShards(path: string): Promise<FileContents> {
  const { names, tensors } = await shardsOf(path);
  const shards: FileContents[] = [];
  const close = async () => {
    for (const shard of shards) await shard.close();
  };
  try {
    for (const name of names) shards.push(await readContents(await openFile(join(dirname(path), name))));
    const stored = new Map<string, StoredTensor>();
    for (const shard of shards) {
      for (const [key, tensor] of shard.stored) {
        if (stored.has(key)) throw new FormatError(path, `two of its files hold the tensor ${key}`);
        stored.set(key, tensor);
      }
    }
    if (stored.size < tensors) {
      throw new FormatError(path, `it lists ${tensors} tensors, but its files hold ${stored.size}`);
    }
    const byteLength = shards.reduce((sum, shard) => sum + shard.byteLength, 0);
    const [{ format, metadata }] = shards;
    return { format, path, byteLength, stored, root: new Map(), metadata, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The names of the files that an index lists, which lie beside it, and the number of tensors. */
async function shardsOf(path: string): Promise<{ names: string[]; tensors: number }> {
  const map = record(jsonRecord(await readText(path, maxIndex))?.weight_map);
  if (!map) throw new FormatError(path, "it has no weight_map, so it is not the index of a model");
  const names = [...new Set(Object.values(map))];
  const wrong = names.find((name) =>
    typeof name !== "string" || name === "" || basename(name) !== name || name === ".."
  );
  if (wrong !== undefined) {
    throw new FormatError(
      path,
      `corrupt: it names ${JSON.stringify(wrong)}, which is not the name of a file beside it`,
    );
  }
  if (names.length === 0 || names.length > maxShards) {
    throw new FormatError(path, `it names ${names.length} files, expected 1 to ${maxShards}`);
  }
  return { names: names.map(String).sort(), tensors: Object.keys(map).length };
}
