// The mean of the weights of models that were trained from a common one ("model soup", Wortsman et al. 2022,
// https://arxiv.org/abs/2203.05482). Often it keeps most of what each of them has learnt. The models need the same sizes, and
// codebooks that began alike: after `--kmeans` the same token means other things.
//   deno run -A scripts/mean_weights.ts OUT.safetensors MODEL MODEL...
import process from "node:process";
import { saveWeights, scope, VQGAN } from "../mod.ts";

const [out, ...paths] = process.argv.slice(2);
if (paths.length < 2) throw new Error("OUT.safetensors and two or more MODELs are needed");
const models = await Promise.all(paths.map((path) => VQGAN.load(path, { withLoss: true })));
const [weights, ...others] = models.map((model) => model.stateDict());
for (const [key, weight] of weights) {
  if (weight.dtype !== "f32") continue; // how many batches a running mean has seen
  scope(() => {
    const sum = others.reduce((sum, other) => sum.add(other.get(key)!), weight.add(0));
    weight.assign(sum.div(paths.length));
  });
}
await saveWeights(out, models[0]);
