// The program that lock.test.ts runs: `locker.ts FOLDER [MILLISECONDS]` takes a run folder, says "taken" or why not, and holds
// it.
import process from "node:process";
import { RunLock } from "../../train/run/lock.ts";

const [folder, time = "0"] = process.argv.slice(2);
try {
  const lock = await RunLock.take(folder);
  lock.start(50);
  console.log(`taken, after ${lock.before ?? "nobody"}`);
  await new Promise((resolve) => setTimeout(resolve, Number(time)));
  lock.release();
} catch (error) {
  console.log((error as Error).message);
}
