// Writes files for torch.load, also with weights_only: a zip with the pickle and one entry for each tensor.
import type { Sink } from "../sink.ts";
import { storedBytes } from "../values.ts";
import { type Pickleable, writePickle } from "./pickle_write.ts";
import { ZipWriter } from "./zip_write.ts";

/**
 * Writes what torch.save would write. Tensors are requested one at a time.
 * @throws if values do not match their shape and type.
 */
export async function writeTorchTo(sink: Sink, root: Pickleable): Promise<void> {
  const { bytes, tensors } = writePickle(root);
  const text = (content: string) => [new TextEncoder().encode(content)];
  const zip = new ZipWriter(sink);
  await zip.add("archive/data.pkl", [bytes]);
  await zip.add("archive/byteorder", text("little"));
  for (const [i, tensor] of tensors.entries()) {
    await zip.add(`archive/data/${i}`, [...storedBytes(tensor, await tensor.data())]);
  }
  await zip.add("archive/version", text("3\n"));
  await zip.finish();
}
