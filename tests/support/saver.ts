// The program that atomic.test.ts kills, or runs on a full disk: `saver.ts FOLDER SIZE [COUNT]` saves a checkpoint again and
// again in every format. All its values are the number of the save. It prints one line after each file.
import { join } from "node:path";
import process from "node:process";
import { saveAll } from "./saves.ts";

const [folder, size, count = "Infinity"] = process.argv.slice(2);
try {
  for (let version = 1; version <= Number(count); version++) {
    for await (const name of saveAll(folder, Number(size), version)) {
      console.log(`${version} ${join(folder, name)}`);
    }
  }
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
