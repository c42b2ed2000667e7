// Progress lines for what comes before a training: listing pictures and reading a checkpoint.
import process from "node:process";
import type { Loading, Run } from "../train/index.ts";
import { bytesProgress, Progress, shortWork } from "./progress.ts";

/** Begins a run while progress lines show what takes long. They go to stderr, because stdout is for results. */
export async function withLoading(begin: (loading: Loading) => Promise<Run>): Promise<Run> {
  const reading = bytesProgress("load");
  const listing = new Progress({
    ...{ label: "list", unit: "picture", patience: shortWork, stream: process.stderr },
  });
  try {
    return await begin({
      onProgress: (bytes, total) => {
        listing.erase();
        reading.report(bytes, total);
      },
      onListed: (pictures) => listing.update(pictures),
    });
  } finally {
    listing.erase();
    reading.finish();
  }
}
