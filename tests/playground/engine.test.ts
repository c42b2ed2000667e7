// What the playground's worker does, without a page: feature maps, attention, judges, the codebook, and a training whose
// weights change while it runs.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { captureOutputs } from "../../nn/capture.ts";
import { LPIPS } from "../../nn/lpips.ts";
import {
  asyncScope,
  memorySource,
  noGrad,
  type Picture,
  preset,
  Random,
  readCheckpoint,
  tensor,
  toFloats,
  toPixels,
  VQGAN,
  writeSafetensorsTo,
  writeWeightsTo,
} from "../../core.ts";
import { codebook, codePictures, neighbours, walk } from "../../playground/engine/codebook.ts";
import { codeColors } from "../../playground/engine/code_colors.ts";
import { type Call, Engine } from "../../playground/engine/engine.ts";
import { judge, lpips } from "../../playground/engine/judges.ts";
import { layers } from "../../playground/engine/layers.ts";
import {
  learn,
  learnEnd,
  learnSave,
  learnStart,
  learnWeights,
  type StepReport,
} from "../../playground/engine/learn.ts";
import { expectClose, expectNoLeak } from "../support/expectations.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const size = 32;
const config = preset("faces", {
  nEmbed: 64,
  embedDim: 8,
  ddconfig: { ch: 32, chMult: [1, 2, 2], resolution: size, attnResolutions: [8], zChannels: 16 },
  lossconfig: { discNdf: 8, discNumLayers: 2, perceptualWeight: 0, discWeight: 0.5 },
});

/** A file in the memory. */
async function fileOf(
  write: (sink: { write(bytes: Uint8Array): Promise<void> }) => Promise<void>,
): Promise<Blob> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  await write({ write: (bytes) => Promise.resolve(void parts.push(bytes.slice())) });
  return new Blob(parts);
}

function drawn(seed: number): Picture {
  const random = new Random(seed);
  return {
    width: size,
    height: size,
    pixels: Uint8Array.from({ length: size * size * 3 }, () => random.integer(256)),
  };
}

const engine = new Engine();
let model: VQGAN;
beforeAll(async () => {
  model = new VQGAN(config, new Random(1), { withLoss: true });
  model.quantize.codebook.assign(new Random(2).uniform([64, 8], -0.5, 0.5));
  engine.replace(model, await fileOf((sink) => writeWeightsTo(sink, model)));
});
afterAll(() => model.dispose());

describe("layers", () => {
  test("shows every level's maps as the model computes them, and all attention", () =>
    expectNoLeak(async () => {
      const picture = drawn(3), found = await layers(engine, { picture });
      expect(found.layers.map(({ path }) => path)).toEqual([
        "encoder.conv_in",
        "encoder.down.0.block.0",
        "encoder.down.1.block.0",
        "encoder.down.2.block.0",
        "encoder.mid",
        "quant_conv",
        "post_quant_conv",
        "decoder.mid",
        "decoder.up.2.block.1",
        "decoder.up.1.block.1",
        "decoder.up.0.block.1",
        "decoder.conv_out",
      ]);
      expect(found.layers.map(({ width, channels }) => [width, channels])).toEqual(
        [[32, 32], [32, 32], [16, 64], [8, 64], [8, 64], [8, 8], [8, 16], [8, 64], [8, 64], [16, 64], [
          32,
          32,
        ], [32, 3]],
      );
      await asyncScope(async () => {
        const images = tensor(toFloats(picture.pixels), [1, size, size, 3]), path = "encoder.down.1.block.0";
        const { outputs } = captureOutputs(model, [path], () => noGrad(() => model.encode(images)));
        const values = await outputs.get(path)!.floats(), { shown, strength } = found.layers[2];
        const variances = Array.from({ length: 64 }, (_, channel) => {
          const own = values.filter((_, i) => i % 64 === channel);
          const mean = own.reduce((sum, value) => sum + value, 0) / own.length;
          return own.reduce((sum, value) => sum + (value - mean) ** 2, 0) / own.length;
        });
        const most = variances.indexOf(Math.max(...variances)), [first] = shown;
        expect(first.channel).toBe(most);
        const own = values.filter((_, i) => i % 64 === most),
          least = Math.min(...own),
          range = Math.max(...own) - least;
        expectClose(first.values, own.map((value) => 255 * (value - least) / range), 0.51);
        const sums = Float32Array.from(
          { length: 256 },
          (_, pixel) =>
            values.subarray(64 * pixel, 64 * pixel + 64).reduce((sum, value) => sum + Math.abs(value), 0),
        );
        expect(strength.indexOf(255)).toBe(sums.indexOf(Math.max(...sums)));
        expect(strength.indexOf(0)).toBe(sums.indexOf(Math.min(...sums)));
      });
      expect(found.attention.map(({ path }) => path)).toEqual([
        "encoder.down.2.attn.0",
        "encoder.mid.attn_1",
        "decoder.mid.attn_1",
        "decoder.up.2.attn.0",
        "decoder.up.2.attn.1",
      ]);
      for (const { width, height, weights } of found.attention) {
        expect([width, height, weights.length]).toEqual([8, 8, 64 * 64]);
        for (let row = 0; row < 64; row++) {
          expect(Math.abs(weights.subarray(64 * row, 64 * row + 64).reduce((a, b) => a + b) - 1))
            .toBeLessThan(1e-5);
        }
      }
    }));
});

describe("the codebook", () => {
  test("has places, colours, neighbours, walks and pictures", async () => {
    const { places, axes, shares } = await codebook(engine, null), colors = await codeColors(engine, null);
    expect([places.length, axes, shares.length, colors.length]).toEqual([64 * 3, 3, 3, 64 * 3]);
    // the colour is the place: the further on an axis, the more of that colour
    const order = (values: ArrayLike<number>) =>
      Array.from({ length: 64 }, (_, i) => i).sort((a, b) => values[3 * a] - values[3 * b]);
    const byPlace = order(places).map((code) => colors[3 * code]);
    expect(byPlace).toEqual([...byPlace].sort((a, b) => a - b));
    const near = await neighbours(engine, { code: 9, count: 4 });
    expect([near[0], near.length]).toEqual([{ code: 9, distance: 0 }, 4]);
    const path = await walk(engine, { code: 9, axis: 1, stops: 41 }); // ten standard deviations: from one end to the other
    expect([path.length, path[20]]).toEqual([41, 9]);
    expect(places[3 * path[0] + 1]).toBeLessThan(places[3 * 9 + 1]);
    expect(places[3 * path[40] + 1]).toBeGreaterThan(places[3 * 9 + 1]);
    const { pixels, side } = await codePictures(engine, { codes: [5, 9] });
    expect([side, pixels.length]).toEqual([8, 2 * 8 * 8 * 3]);
    const alone = await asyncScope(async () =>
      toPixels(await model.decodeTokens([9, 9, 9, 9], [2, 2]).floats())
    );
    expect(pixels.subarray(8 * 8 * 3)).toEqual(alone);
  });
});

describe("judges", () => {
  test("are the file's discriminator, and LPIPS from two halves in any order", async () => {
    const pictures = { picture: drawn(3), made: drawn(4) };
    const before = await judge(engine, pictures);
    expect(before.lpips).toBe(null);
    expect(before.discriminator!.patch).toBe(34);
    await asyncScope(async () => {
      const images = tensor(toFloats(pictures.made.pixels), [1, size, size, 3]);
      const map = await noGrad(() => model.loss!.discriminator.map(images)).floats();
      expect(before.discriminator!.made).toEqual(map);
    });
    const net = new LPIPS("squeeze"), random = new Random(5);
    const [heads, backbone] = await Promise.all([/^lin/, /^net/].map((part) =>
      fileOf(async (sink) => {
        const entries = [...net.stateDict()].filter(([key]) => part.test(key)).map((
          [key, { shape, size }],
        ) => ({
          name: key.replace(/^net\.slice\d+\./, "features."),
          shape,
          dtype: "f32" as const,
          data: () => Float32Array.from({ length: size }, () => 0.1 * random.next()),
        }));
        await writeSafetensorsTo(sink, entries);
      })
    ));
    net.dispose();
    const named = (blob: Blob, name: string) => ({ file: new File([blob], name) });
    expect(await lpips(engine, named(engine.source, "model.safetensors"))).toBe(null);
    expect(await lpips(engine, named(heads, "heads.pth"))).toEqual({
      words: "heads for SqueezeNet 1.1",
      isWhole: false,
    });
    expect(await lpips(engine, named(backbone, "squeeze.pth"))).toEqual({
      words: "LPIPS with SqueezeNet 1.1",
      isWhole: true,
    });
    const { lpips: verdict } = await judge(engine, pictures);
    expect([verdict!.name, verdict!.map.length]).toEqual(["SqueezeNet 1.1", size * size]);
    expect(verdict!.distance).toBeGreaterThan(0);
    const { lpips: equal } = await judge(engine, { picture: pictures.made, made: pictures.made });
    expect([equal!.distance, Math.max(...equal!.map)]).toEqual([0, 0]);
  });
});

describe("a training", () => {
  const weights = { pixels: 1, perceptual: 0, codebook: 1, gan: 0.1, rate: 1e-3 };
  const pictures = [drawn(6), drawn(7)];

  /** Learns for some steps; `between` runs after each. */
  async function steps(
    count: number,
    between: (step: number) => Promise<void> = async () => {},
  ): Promise<StepReport[]> {
    const reports: StepReport[] = [];
    const call: Call<StepReport> = {
      report: (report) => void reports.push(report),
      turn: async () => {
        await between(reports.length);
        if (reports.length === count) throw new Error("stopped");
      },
    };
    await expect(learn(engine, null, call)).rejects.toThrow("stopped");
    return reports;
  }

  test("lowers the loss of a copy, goes on after a stop, and its file has the tokens of what was learnt", async () => {
    const { before, isDiscriminatorKnown } = await learnStart(engine, { pictures, weights });
    expect([before.length, isDiscriminatorKnown]).toEqual([2, true]);
    const first = await steps(8), second = await steps(4);
    expect([...first, ...second].map(({ step }) => step)).toEqual(
      Array.from({ length: 12 }, (_, i) => i + 1),
    );
    expect(second[3].losses.pixels).toBeLessThan(first[0].losses.pixels);
    expect([...first, ...second].filter(({ made }) => made).map(({ step }) => step)).toEqual([4, 8, 12]);
    // the model of the page is another one, and has not changed
    const { before: unchanged } = await learnStart(engine, { pictures, weights });
    expect(unchanged).toEqual(before);
    await steps(3);
    const { file, made } = await learnSave(engine, null);
    const bytes = new Uint8Array(await file.arrayBuffer());
    const again = await VQGAN.load(await readCheckpoint(memorySource("saved", bytes)));
    for (const [i, picture] of pictures.entries()) {
      const { tokens, grid } = await again.tokensOf(picture);
      expect((await again.pictureOf(tokens, grid)).pixels).toEqual(made[i].pixels);
    }
    expect(made[0].pixels).not.toEqual(before[0].pixels);
    again.dispose();
    await learnEnd(engine, null);
    await expect(learnSave(engine, null)).rejects.toThrow("nothing has been learnt yet");
  });

  test("weights that change between two steps change what is learnt", async () => {
    /** What three steps make of the pictures, if the weights change after the first. */
    const learnt = async (changed: Partial<typeof weights>): Promise<Uint8Array> => {
      await learnStart(engine, { pictures, weights });
      await steps(3, async (step) => {
        if (step === 1) await learnWeights(engine, { ...weights, ...changed });
      });
      const { made } = await learnSave(engine, null);
      await learnEnd(engine, null);
      return made[0].pixels;
    };
    const plain = await learnt({});
    expect(await learnt({})).toEqual(plain);
    for (const change of [{ pixels: 0.1 }, { codebook: 0 }, { gan: 0.9 }, { rate: 1e-4 }]) {
      expect(await learnt(change)).not.toEqual(plain);
    }
  });
});
