// tessera inspect: reports what a checkpoint holds.
import { Command } from "commander";
import { formatInspectReport, formatTensors, hashFile, inspect } from "../data/index.ts";
import { isIndex } from "../data/files/shards.ts";
import { checkpointPath } from "./checkpoint.ts";
import { namesHelp } from "./fetch.ts";
import { print } from "./print.ts";
import { bytesProgress } from "./progress.ts";

const examples = `
Examples:
  $ tessera inspect last.ckpt
  $ tessera inspect --tensors runs/2026-05-01T12-30-00_faces/checkpoints/last.safetensors
  $ tessera inspect --json flax_model/
  $ tessera inspect hf:boris/vqgan_f16_16384

Reads torch files (zip and legacy), safetensors and Flax. Nothing in the file is executed. The tensors are read
only for the SHA-256.`;

export function inspectCommand(): Command {
  return new Command("inspect").description("report what a checkpoint holds, without loading it")
    .argument("<file>", `a checkpoint, a run's folder, or a folder with a Flax model; ${namesHelp}`)
    .option("--tensors", "list every tensor")
    .option("--json", "print JSON, with every tensor")
    .addHelpText("after", examples)
    .action(run);
}

async function run(path: string, { tensors, json }: { tensors?: boolean; json?: boolean }): Promise<void> {
  const report = await inspect(await checkpointPath(path));
  if (!json) {
    if (tensors) print(...formatTensors(report).split("\n"));
    print(...formatInspectReport(report).split("\n"));
  }
  const whose = isIndex(report.path) ? "SHA-256 of the index" : "SHA-256";
  const progress = bytesProgress("SHA-256");
  const hash = await hashFile(report.path, { onProgress: progress.report }).finally(() => progress.finish());
  if (json) print(...JSON.stringify({ ...report, ...hash }, null, 2).split("\n"));
  else {
    print(`${whose}: ${hash.sha256}`);
    if (hash.published) print(`published as ${hash.published}`);
  }
}
