// The folders in which libraries keep a model: weights under a fixed name, in one file or in several with an index.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { diffusersWeights } from "../formats/families/diffusers.ts";
import { flaxWeights } from "../formats/flax/read.ts";
import { FormatError } from "../formats/source.ts";

/** The names of weights, the preferred ones first. The variant, such as `fp16`, stands before or after the ending. */
const names: readonly RegExp[] = [
  exactly(flaxWeights),
  exactly(diffusersWeights),
  exactly("diffusion_pytorch_model.bin"),
  exactly("model.safetensors"),
  exactly("pytorch_model.bin"),
  /^(diffusion_pytorch_model|model|pytorch_model)\.\w+\.(safetensors|bin)(\.index\.json)?$/,
  /^(diffusion_pytorch_model|model|pytorch_model)\.(safetensors|bin)\.index\.\w+\.json$/,
];

/** A name, or that of the index if the weights are in several files. */
function exactly(name: string): RegExp {
  return new RegExp(`^${name.replaceAll(".", "\\.")}(\\.index\\.json)?$`);
}

/** The folders of a diffusers pipeline that may hold a VQGAN. */
const parts = ["vqvae", "vqgan", "movq", "vae", "first_stage_model"];

/**
 * The path of the weights in the folder of a model. A path of a file is returned as it is.
 * @throws FormatError if a folder holds no weights, naming what it holds instead
 */
export async function weightsIn(path: string): Promise<string> {
  const isFolder = await stat(path).then((found) => found.isDirectory(), () => false);
  if (!isFolder) return path;
  const inside = (await readdir(path)).sort();
  for (const name of names) {
    const found = inside.find((file) => name.test(file));
    if (found !== undefined) return join(path, found);
  }
  const part = parts.find((name) => inside.includes(name));
  if (part !== undefined) {
    throw new FormatError(
      path,
      "this is a folder with several models",
      `name the one that is meant, ${join(path, part)}`,
    );
  }
  throw new FormatError(
    path,
    "this folder holds no weights under a name of Flax or diffusers",
    "name the checkpoint inside it",
  );
}
