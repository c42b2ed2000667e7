// Files that torch.load opens, with weights_only too: a zip with the pickle and one entry for each tensor.
import { writeAtomic } from "../../files/atomic.ts";
import { type Pickleable, writePickle } from "./pickle_write.ts";
import { storedBytes } from "../values.ts";
import { ZipWriter } from "./zip_write.ts";

/**
 * Writes what torch.save would, whole or not at all. Tensors are asked for one at a time.
 *
 * @example
 * const w = { name: "w", shape: [2], dtype: "f32", data: () => new Float32Array([1, 2]) } as const;
 * await writeTorch("a.pt", new Map([["state_dict", new Map([["w", w]])]]));
 * @throws if values do not match their shape and type; the file is then left as it was.
 */
export async function writeTorch(path: string, root: Pickleable): Promise<void> {
  const { bytes, tensors } = writePickle(root);
  const text = (content: string) => [new TextEncoder().encode(content)];
  await writeAtomic(path, async (file) => {
    const zip = new ZipWriter(file);
    await zip.add("archive/data.pkl", [bytes]);
    await zip.add("archive/byteorder", text("little"));
    for (const [i, tensor] of tensors.entries()) {
      await zip.add(`archive/data/${i}`, [...storedBytes(tensor, await tensor.data())]);
    }
    await zip.add("archive/version", text("3\n"));
    await zip.finish();
  });
}
