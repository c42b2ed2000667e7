// The notebook of chapter 8: `deno task notebooks 8-checkpoint` makes 8-checkpoint.ipynb of this file.

// %% [markdown]
/*
# 8. A real checkpoint

*What its tensors do, and how to fine-tune them.* This notebook belongs to
[chapter 8](../book/8-checkpoint.md). It opens the small model that comes with Tessera, and teaches it
cartoons, which it has never seen. Larger models are opened in the same way: write a path, or
`hf:boris/vqgan_f16_16384`, in place of `file`.
*/

// %%
import {
  concat,
  drawCartoonFace,
  grid,
  inspect,
  plotCurves,
  scope,
  tensor,
  toFloats,
  toPictures,
} from "../../mod.ts";
import { type PartName, type Tensor, Trainer, trainOnly, VQGAN } from "../../mod.ts";

const file = "../../models/faces.safetensors";
const { parts, tensors, values } = await inspect(file);
for (const part of parts) {
  console.log(`${part.name.padEnd(20)} ${String(part.tensors).padStart(3)} tensors, ${part.values} numbers`);
}
console.log(`together ${tensors} tensors, ${values} numbers`);

// %% [markdown]
/*
## The first layer

`encoder.conv_in.weight` has the shape [64, 3, 3, 3]: 64 filters of 3×3 pixels and three colours. Each can be
drawn as a tiny picture of what it answers to most strongly. Some are edges, some are colours, as the chapter
about convolutions promised.
*/

// %%
const model = await VQGAN.load(file, {
  withLoss: true, // with what is only there for training
  config: { lossconfig: { perceptualWeight: 0, discStart: 1000 } }, // no LPIPS, and the GAN later than we train
});
const first = model.encoder.conv_in.weight.detach().permute(0, 2, 3, 1);
const largest = Math.max(...await first.abs().floats());
grid(toPictures(await first.mul(1 / largest).floats(), first.shape), { columns: 16, padding: 1 });

// %% [markdown]
/*
## Cartoons

The model was trained on faces that look like photographs. The first of these three cartoons is for learning,
and the other two are kept back. Beside them is what the model makes of their tokens before it has learnt
anything.
*/

// %%
const size = 64, pixels = await Promise.all([20, 32, 33].map((seed) => drawCartoonFace(seed, size)));
const cartoons = tensor(Float32Array.from(pixels.flatMap((each) => [...toFloats(each)])), [3, size, size, 3]);
const learnt = cartoons.slice([0, 0, 0, 0], [1, size, size, 3]);

/** The PSNR of each cartoon, in dB. */
async function psnrOf(copies: Tensor): Promise<number[]> {
  const errors = await scope(() => copies.clamp(-1, 1).sub(cartoons).square().mean([1, 2, 3])).floats();
  return [...errors].map((error) => -10 * Math.log10(error / 4));
}

const copies = model.reconstruct(cartoons);
console.log("PSNR", (await psnrOf(copies)).map((psnr) => psnr.toFixed(1)).join(", "));
concat([cartoons, copies], 0);

// %% [markdown]
/*
## Fine-tune, and watch

`Trainer` does the training step of the chapter. To see something in a few seconds, it learns a single
cartoon, at 3 · 10⁻⁴, a rate 30 times as high as one for photographs. The picture changes after every second
step. Expect the first copy to gain about 1.7 dB in 12 steps, and the others nothing: what a model learns by heart
says little about other pictures, so measure on some that are kept back. (To stop early, interrupt the
kernel; what it has learnt stays.)
*/

// %%
interface Course {
  learnt: number[];
  keptBack: number[];
}

async function fineTune(
  name: string,
  model: VQGAN,
  parts: (PartName | "all")[],
  steps: number,
): Promise<Course> {
  trainOnly(model, parts);
  const trainer = new Trainer(model, { learningRate: () => 3e-4 }),
    course: Course = { learnt: [], keptBack: [] };
  for (let step = 0; step <= steps; step++) {
    if (step % 2 === 0) {
      const copies = model.reconstruct(cartoons), both = concat([cartoons, copies], 0);
      const [first, ...others] = await psnrOf(copies);
      course.learnt.push(first);
      course.keptBack.push((others[0] + others[1]) / 2);
      await Deno.jupyter.display(both, { display_id: name, update: step > 0 });
      for (const t of [copies, both]) t.dispose();
    }
    const { logs } = await trainer.trainStep([learnt]);
    for (const t of Object.values(logs)) t.dispose();
  }
  trainer.dispose();
  return course;
}

/** The first and the last of them. */
const change = (values: number[]) => `${values[0].toFixed(1)} -> ${values.at(-1)!.toFixed(1)} dB`;

const everything = await fineTune("everything", model, ["all"], 12);
console.log(`learnt: ${change(everything.learnt)}, kept back: ${change(everything.keptBack)}`);

// %% [markdown]
/*
## Experiment: keep the tokens

Somebody may have stored tokens of this model. If encoder and codebook learn, those tokens no longer mean what
they did. `trainOnly` with `"decoder"` freezes the rest. Expect the same gain, and every token to be what it
was.
*/

// %%
const second = await VQGAN.load(file, {
  withLoss: true,
  config: { lossconfig: { perceptualWeight: 0, discStart: 1000 } },
});
const before = await second.encode(learnt).indices.ints();
const decoderOnly = await fineTune("decoder", second, ["decoder"], 12);
console.log(`learnt: ${change(decoderOnly.learnt)}, kept back: ${change(decoderOnly.keptBack)}`);
for (const [name, each] of [["everything", model], ["only the decoder", second]] as const) {
  const tokens = await each.encode(learnt).indices.ints();
  const same = tokens.filter((token, i) => token === before[i]).length;
  console.log(`${name} has learnt: ${same} of ${tokens.length} tokens are the same`);
}
const curve = (name: string, values: number[]) => ({ name, steps: values.map((_, i) => 2 * i), values });
await plotCurves([{
  title: "PSNR in dB",
  series: [
    curve("everything: learnt", everything.learnt),
    curve("kept back", everything.keptBack),
    curve("decoder: learnt", decoderOnly.learnt),
    curve("kept back", decoderOnly.keptBack),
  ],
}], { width: 720, height: 320, smoothing: 0 });

// %% [markdown]
/*
## Try next

- A rate of 3 · 10⁻³. At which step do you see that it is too high?
- Learn all three cartoons (`trainer.trainStep([cartoons])`) for 60 steps. Which of them gains most?
- Switch on the GAN, with `discStart: 0` and `discWeight: 0.1`. What changes first?
- For more than a quick look use `tessera finetune`: it measures, saves checkpoints, and can be resumed
  ([training.md](../training.md)).

[Chapter 8](../book/8-checkpoint.md) · [All notebooks](README.md)
*/
