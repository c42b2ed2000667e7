// Fine-tunes a copy of the model on a few pictures. Between two steps other operations run, such as those that change the
// weights of the losses or decode for other panels.
import {
  asyncScope,
  loadPerceptual,
  loadVQGAN,
  noGrad,
  type Picture,
  tensor,
  toFloats,
  toPictures,
  Trainer,
  type VQGAN,
  writeWeightsTo,
} from "../../core.ts";
import type { Call, Engine } from "./engine.ts";
import { perceptualFiles } from "./judges.ts";

/** How much each term of the loss counts, and how fast the model learns. */
export interface LossWeights {
  /** |x - x̂|; above 0, because the adaptive weight of the GAN is measured against it. */
  readonly pixels: number;
  /** LPIPS. */
  readonly perceptual: number;
  /** The quantizer's loss. */
  readonly codebook: number;
  /** The generator's loss, times the adaptive weight: `discWeight`. */
  readonly gan: number;
  readonly rate: number;
}

/** What a step tells. */
export interface StepReport {
  readonly step: number;
  readonly ms: number;
  /** The terms of the loss, before they are weighted. `perceptual` is 0 without LPIPS. */
  readonly losses: {
    readonly pixels: number;
    readonly perceptual: number;
    readonly codebook: number;
    readonly gan: number;
    readonly discriminator: number;
  };
  /** What the model makes of the pictures now, every few steps; null in between. */
  readonly made: readonly Picture[] | null;
}

/** A model that is being trained. */
interface Lesson {
  readonly model: VQGAN;
  readonly trainer: Trainer;
  readonly pictures: readonly Picture[];
  /** `now` may change between two steps. */
  readonly weights: { now: LossWeights };
}

const lessons = new WeakMap<Engine, Lesson>();

/** Every so many steps the pictures are drawn. */
const drawEvery = 4;

function lessonOf(engine: Engine): Lesson {
  const lesson = lessons.get(engine);
  if (lesson) return lesson;
  throw new Error("nothing has been learnt yet");
}

/** Forgets what was learnt, and frees its memory. */
export function learnEnd(engine: Engine, _: null): Promise<void> {
  const lesson = lessons.get(engine);
  lesson?.trainer.dispose();
  lesson?.model.dispose();
  lessons.delete(engine);
  return Promise.resolve();
}

/**
 * Begins with a copy of the model as its file has it.
 * @param request pictures that have the same size, which fits the model
 * @returns what the model makes of the pictures before it learns
 * @throws if the model cannot be trained, or memory runs out
 */
export async function learnStart(
  engine: Engine,
  { pictures, weights }: { readonly pictures: readonly Picture[]; readonly weights: LossWeights },
): Promise<{
  readonly before: readonly Picture[];
  /** Whether the discriminator comes from the file. If not, a new one begins. */
  readonly isDiscriminatorKnown: boolean;
}> {
  await learnEnd(engine, null);
  const found = await perceptualFiles(engine), net = found?.net === "alex" ? null : found?.net ?? null;
  const lossconfig = {
    discStart: 0,
    ...engine.model.config.lossconfig.discWeight > 0 ? {} : { discWeight: 1 }, // it is multiplied
    perceptualWeight: net === null ? 0 : 1,
    ...net === null ? {} : { perceptualNet: net },
  };
  const { model, discriminator } = await loadVQGAN(engine.source, { withLoss: true, config: { lossconfig } });
  try {
    const perceptual = model.loss?.perceptual_loss;
    if (perceptual && found && !perceptual.ready) await loadPerceptual(perceptual, found.files);
    const changing = { now: weights };
    const trainer = new Trainer(model, { learningRate: () => changing.now.rate });
    const lesson: Lesson = { model, trainer, pictures, weights: changing };
    lessons.set(engine, lesson);
    return { before: await draw(lesson), isDiscriminatorKnown: discriminator === "file" };
  } catch (error) {
    if (!lessons.has(engine)) model.dispose();
    throw error;
  }
}

/** Changes the weights from the next step on. */
export function learnWeights(engine: Engine, weights: LossWeights): Promise<void> {
  lessonOf(engine).weights.now = weights;
  return Promise.resolve();
}

/** Learns, one picture at a time, until the page asks to stop. Reports each step. */
export async function learn(engine: Engine, _: null, call: Call<StepReport>): Promise<never> {
  const lesson = lessonOf(engine);
  while (true) {
    call.report(await step(lesson));
    await call.turn();
    if (lessons.get(engine) !== lesson) throw new Error("the training was forgotten");
  }
}

async function step(lesson: Lesson): Promise<StepReport> {
  const { trainer, pictures } = lesson, { gan, pixels, perceptual, codebook } = lesson.weights.now;
  const { lossconfig } = trainer.model.config;
  trainer.gan.scale = gan / lossconfig.discWeight;
  trainer.factors = { pixels, perceptual, codebook };
  const start = performance.now();
  const losses = await asyncScope(async () => {
    const { logs } = await trainer.trainStep([
      asImages(lesson.model, [pictures[trainer.step % pictures.length]]),
    ]);
    const [nll, p, quant, g, disc] = await Promise.all(
      ["nll_loss", "p_loss", "quant_loss", "g_loss", "disc_loss"].map((name) => logs[`train/${name}`].item()),
    );
    const weighted = trainer.model.config.lossconfig.perceptualWeight * perceptual * p;
    return {
      pixels: pixels > 0 ? (nll - weighted) / pixels : 0,
      perceptual: p,
      codebook: quant,
      gan: g,
      discriminator: disc,
    };
  });
  const ms = performance.now() - start, isDrawn = trainer.step % drawEvery === 0;
  return { step: trainer.step, ms, losses, made: isDrawn ? await draw(lesson) : null };
}

/** What the model makes of the pictures now. */
async function draw({ model, pictures }: Lesson): Promise<Picture[]> {
  return await asyncScope(async () => {
    const made = noGrad(() => model.reconstruct(asImages(model, pictures)));
    return toPictures(await made.floats(), made.shape, model.range);
  });
}

function asImages(model: VQGAN, pictures: readonly Picture[]) {
  const [{ width, height }] = pictures, floats = new Float32Array(pictures.length * width * height * 3);
  pictures.forEach(({ pixels }, i) => floats.set(toFloats(pixels, model.range), i * width * height * 3));
  return tensor(floats, [pictures.length, height, width, 3]);
}

/** What has been learnt, as a file of safetensors that the command line reads, and the pictures as they are now. */
export async function learnSave(
  engine: Engine,
  _: null,
): Promise<{ readonly file: Blob; readonly made: readonly Picture[] }> {
  const lesson = lessonOf(engine), parts: Uint8Array<ArrayBuffer>[] = [];
  await writeWeightsTo({ write: (bytes) => Promise.resolve(void parts.push(bytes.slice())) }, lesson.model);
  return { file: new Blob(parts), made: await draw(lesson) };
}
