// Chapter 8, the real checkpoint: `deno run -A docs/book/solutions/8.ts` prints
//   1. 366 MB of weights and 614 MB of Adam's averages: 980 MB
//   2. 7 blocks with 7,361,536 of 71,747,971 numbers
//   3. decoder alone: changed are decoder, loss, post_quant_conv; tokens are the same: true
//   3. everything: changed are decoder, encoder, loss, post_quant_conv, quant_conv, quantize; tokens are the same: false
import { fileURLToPath } from "node:url";
import { asyncScope, drawCartoonFace, tensor, toFloats, Trainer, trainOnly, VQGAN } from "../../../mod.ts";
import { checkpointTensors } from "../../figures/book/parts.ts";

// 1. Adam keeps two averages for each number of the autoencoder and for each learnt one of the discriminator, all of them f32.
const all = checkpointTensors(),
  sum = (keys: RegExp) => all.reduce((total, { key, count }) => keys.test(key) ? total + count : total, 0);
const learnt = sum(/^/) - sum(/^loss\.perceptual_loss|running_|num_batches/);
const [weights, moments] = [4 * sum(/^/) / 1e6, 8 * learnt / 1e6].map(Math.round);
console.log(`1. ${weights} MB of weights and ${moments} MB of Adam's averages: ${weights + moments} MB`);

// 2. Each block has one norm.
const blocks = all.filter(({ key }) => /attn.*\.norm\.weight/.test(key)).length;
const attention = sum(/attn/).toLocaleString("en-US"), both = sum(/^(en|de)coder/).toLocaleString("en-US");
console.log(`2. ${blocks} blocks with ${attention} of ${both} numbers`);

// 3. What is frozen is not learnt, and a picture keeps its tokens as long as encoder and codebook stay. Of `loss` only the
// running averages of the discriminator's batch norm change: nobody learns them, they follow the pictures.
const path = fileURLToPath(new URL("../../../models/faces.safetensors", import.meta.url));
const images = tensor(toFloats(await drawCartoonFace(8, 64)), [1, 64, 64, 3]);
for (const parts of [["decoder"], ["all"]] as const) {
  const config = { lossconfig: { perceptualWeight: 0, discStart: 0 } };
  const model = await VQGAN.load(path, { withLoss: true, config });
  const tokens = async () => [...await model.encode(images).indices.ints()].join(" ");
  const state = async () => {
    const pairs = [...model.stateDict()].map(async ([key, t]) => [key, await t.floats()] as const);
    return new Map(await Promise.all(pairs));
  };
  trainOnly(model, parts);
  const trainer = new Trainer(model, { learningRate: () => 1e-2 });
  const [before, first] = [await state(), await tokens()];
  await asyncScope(() => trainer.trainStep([images]));
  const after = await state();
  const isChanged = (key: string) => before.get(key)!.some((value, i) => value !== after.get(key)![i]);
  const changed = [...before.keys()].filter(isChanged).map((key) => key.split(".")[0]);
  const name = parts[0] === "all" ? "everything" : `${parts[0]} alone`;
  const same = first === await tokens();
  console.log(
    `3. ${name}: changed are ${[...new Set(changed)].sort().join(", ")}; tokens are the same: ${same}`,
  );
  trainer.dispose();
  model.dispose();
}
