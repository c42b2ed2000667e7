// The program of tests/distributed/end.test.ts: `summed.ts [stopped]` adds up large tensors in several ranks, ends, and says how
// that went. With `stopped`, the launcher does not answer while MPI ends.
import process from "node:process";
import { keep, ones } from "../../src/index.ts";
import { openRanks } from "../../train/index.ts";

const isStopped = process.argv[2] === "stopped";
const { ranks, close } = await openRanks();
const numbers = keep(ones([2 ** 23]));
for (let i = 0; i < 2; i++) {
  await ranks.sum([numbers]);
  await new Promise((resolve) => setTimeout(resolve, 300));
}
// the ranks look for each other's farewells at different times, as they do after a long training
await new Promise((resolve) => setTimeout(resolve, 50 * ranks.rank));
if (isStopped && ranks.isFirst) process.kill(process.ppid, "SIGSTOP");
const warning = await close();
if (isStopped) process.kill(process.ppid, "SIGCONT");
console.log(`rank ${ranks.rank} ended with ${warning}`);
