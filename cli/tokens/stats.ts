// tessera tokens stats: what is in token files, and how evenly the codes are used.
import { Command } from "commander";
import type { SetFile } from "../../data/index.ts";
import { CodebookUsage } from "../../nn/index.ts";
import { count } from "../options.ts";
import { print } from "../print.ts";
import { filesArgument, openNamed, withRecords } from "./files.ts";

const examples = `
Examples:
  $ tessera tokens stats tokens.parquet
  $ tessera tokens stats 'tokens-*-of-64.parquet'

Perplexity is the number of codes that, used equally often, would say as much: its logarithm to the base of 2 is the
number of bits that a token tells. Files of different models are counted apart. Shards may be missing.`;

export function statsCommand(): Command {
  return new Command("stats").description("count pictures, captions and codes in token files")
    .argument(...filesArgument).addHelpText("after", examples).action(stats);
}

async function stats(words: string[]): Promise<void> {
  for (const files of byModel(await openNamed(words)).values()) {
    const [{ header }] = files,
      usage = new CodebookUsage(header.vocabulary),
      shapes = new Map<string, number>();
    let pictures = 0, captions = 0;
    await withRecords(files, "count", async (records) => {
      for await (const { caption, encoding, grid } of records) {
        pictures++;
        if (caption !== null) captions++;
        shapes.set(grid.join("x"), (shapes.get(grid.join("x")) ?? 0) + 1);
        usage.add(encoding as unknown as Int32Array);
      }
    });
    const { used, usage: share, perplexity, total } = usage.summary();
    print(
      `model ${header.model} (weights ${
        header.weights.slice(0, 16)
      }), range ${header.range}, ${header.attentionOrder}`,
      `  ${count(pictures, "picture")} in ${count(files.length, "file")}${
        shardsOf(files)
      }, ${captions} with a caption`,
      `  grids: ${listed(shapes)}`,
      `  ${count(total, "token")}: ${used} of ${header.vocabulary} codes used (${
        (100 * share).toFixed(1)
      } %), perplexity ` +
        `${perplexity.toFixed(1)} (${Math.log2(Math.max(1, perplexity)).toFixed(2)} bits per token)`,
    );
  }
}

/** The files by the model that made them, and the range and order of attention that it had. */
function byModel(files: readonly SetFile[]): Map<string, SetFile[]> {
  const groups = new Map<string, SetFile[]>();
  for (const file of files) {
    const { weights, range, attentionOrder } = file.header, key = `${weights} ${range} ${attentionOrder}`;
    groups.set(key, [...groups.get(key) ?? [], file]);
  }
  return groups;
}

/** Says how many shards there are of how many, if all files are shards of one corpus. */
function shardsOf(files: readonly SetFile[]): string {
  const totals = new Set(files.map(({ shard }) => shard?.of));
  const [of] = totals;
  return totals.size === 1 && of !== undefined ? ` (${files.length} of ${of} shards)` : "";
}

/** The most frequent shapes, such as "16x16 (all)" or "16x16 (90), 16x20 (7), and 3 others". */
function listed(shapes: ReadonlyMap<string, number>): string {
  if (shapes.size === 0) return "none";
  if (shapes.size === 1) return `${[...shapes.keys()][0]} (all)`;
  const sorted = [...shapes].sort(([, a], [, b]) => b - a),
    shown = sorted.slice(0, 5).map(([shape, n]) => `${shape} (${n})`);
  if (sorted.length > shown.length) shown.push(`and ${sorted.length - shown.length} others`);
  return shown.join(", ");
}
