// tessera inspect: what a checkpoint holds.
import { Command } from "commander";
import { formatReport, inspect } from "../data/formats/index.ts";

const examples = `
Examples:
  $ tessera inspect last.ckpt
  $ tessera inspect runs/2026-05-01T12-30-00_faces/checkpoints/last.safetensors
  $ tessera inspect --json last.ckpt

Reads torch files (zip and legacy), safetensors and Flax. Nothing in the file is executed, and the tensors are not read.`;

export function inspectCommand(): Command {
  return new Command("inspect").description("what a checkpoint holds, without loading it")
    .argument("<file>", "a checkpoint")
    .option("--json", "as JSON")
    .addHelpText("after", examples)
    .action(async (file: string, { json }: { json?: boolean }) => {
      const report = await inspect(file);
      console.log(json ? JSON.stringify(report, null, 2) : formatReport(report));
    });
}
