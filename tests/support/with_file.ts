// Opens a checkpoint for the duration of a function.
import { type CheckpointFile, openCheckpoint } from "../../data/index.ts";

/** Opens a checkpoint, and closes it when `use` is done. */
export async function withFile<T>(path: string, use: (file: CheckpointFile) => Promise<T>): Promise<T> {
  const file = await openCheckpoint(path);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}
