// Turns a folder of pictures into a file of tokens, as `tessera encode` does, and reads the file back.
//   deno run -A examples/encode_folder.ts [folder] [file] [checkpoint]      (or: bun examples/encode_folder.ts)
// Without a folder it draws 12 cartoons into cartoons/. Writes tokens.parquet (.jsonl and .tsv work too). Expect 12 rows
// of 256 tokens, with 1,116 different codes. If you start it again, it encodes only new pictures.
import { basename } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  eachSample,
  hashWeights,
  openTokens,
  readAhead,
  TokenWriter,
  VQGAN,
  writeCartoonFaces,
} from "../mod.ts";

const shipped = fileURLToPath(new URL("../models/faces.safetensors", import.meta.url));
const [folder, file = "tokens.parquet", checkpoint = shipped] = process.argv.slice(2);
const model = await VQGAN.load(checkpoint, { only: "encoder" }); // the other half is not needed
const size = model.config.ddconfig.resolution, side = size / model.factor;
if (folder === undefined) await writeCartoonFaces("cartoons", 12, size, 1);
const sources = [folder ?? "cartoons"];

// The header says how the tokens were made, down to the weights, so that nobody mixes tokens of two models.
const writer = await TokenWriter.open(file, {
  format: "tessera-tokens",
  version: 1,
  factor: model.factor,
  grid: [side, side],
  vocabulary: model.vocabulary,
  range: model.range,
  attentionOrder: model.config.attentionOrder,
  preprocessing: `middle square of ${size}`,
  model: basename(checkpoint),
  weights: await hashWeights(checkpoint),
  source: sources,
  shard: null,
});
let done = 0;
const reading = readAhead(eachSample(sources), async (sample) => {
  if (writer.has(sample.name)) return null; // an earlier call has encoded it
  return { name: sample.name, caption: await sample.caption(), picture: await sample.picture({ size }) };
}, 4); // four pictures are decoded while the model works
for await (const sample of reading) {
  if (sample === null) continue;
  const { tokens, grid } = await model.tokensOf(sample.picture);
  await writer.add([{ file: sample.name, caption: sample.caption, encoding: [...tokens], grid }]);
  done++;
}
await writer.finish(); // only now the file has its name; until then its rows are in FILE.partial

let rows = 0;
const codes = new Set<number>();
for await (const { encoding } of (await openTokens(file)).records()) {
  rows++;
  for (const token of encoding) codes.add(token);
}
console.log(`${file}: ${rows} rows, ${done} of them new, with ${codes.size} of ${model.vocabulary} codes`);
model.dispose();
