// LPIPS with the published weights on the published example pictures, against the package lpips 0.1.4 in float64. Skipped if
// ../shared is not there.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { asyncScope, ones, Random, scope, type Tensor, tensor, zeros } from "../../src/index.ts";
import "../../data/files/open.ts"; // so that loadPerceptual takes paths
import { writeTorch } from "../../data/index.ts";
import { dropHalf, LPIPS, type PerceptualNet } from "../../nn/lpips.ts";
import { loadPerceptual, perceptualNames } from "../../nn/perceptual_files.ts";
import { findPerceptual, findPerceptuals } from "../../train/index.ts";
import { expectNoLeak } from "../support/expectations.ts";
import { maxError } from "../support/numbers.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const weights = fileURLToPath(new URL("../../../shared/weights", import.meta.url));
const present = existsSync(weights);
const folder = await mkdtemp(join(tmpdir(), "tessera-lpips-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const files = {
  vgg: {
    backbone: `${weights}/vgg16/vgg16_features_f32.safetensors`,
    heads: `${weights}/lpips_vgg_lin_v0.1.pth`,
  },
  squeeze: {
    backbone: `${weights}/lpips_squeeze/squeeze.backbone.pth`,
    heads: `${weights}/lpips_squeeze/lin_v0.1.pth`,
  },
  alex: { backbone: `${weights}/alexnet_features.pth`, heads: `${weights}/lpips_alex_lin_v0.1.pth` },
} as const;

/** The pairs of pictures, and the size of the corner that is compared: odd ones, so that pooling cuts windows off. */
const pairs = [["ex_p0", 64, 64], ["ex_p1", 64, 64], ["ex_p0", 61, 53], ["ex_p1", 40, 35]] as const;

/** lpips 0.1.4 in float64, with these very weights. */
const distances: Record<PerceptualNet, number[]> = {
  vgg: [0.5686128210060433, 0.42166425977108557, 0.5890879543419332, 0.3288744615710504],
  squeeze: [0.7110476453019621, 0.14790157915413077, 0.6989600931223753, 0.10330481468330874],
  alex: [0.72188070882876, 0.13756560861834322, 0.7097900960631363, 0.02474052251545051],
};

/** What lpips 0.1.4 returns with `spatial=True`: the mean of the map, and its value at six pixels. */
const maps = [
  ["squeeze", "ex_p0", 61, 53, 0.6989667423531565, [
    0.57278660113501,
    0.49588435512032475,
    0.6965605984649973,
    0.8224174541244512,
    0.5661725432817484,
    0.5554305152821517,
  ]],
  ["alex", "ex_p1", 64, 64, 0.13755423116399676, [
    0.11093686457611708,
    0.13531139697029176,
    0.12867135154057513,
    0.19745092255086366,
    0.07332479688310967,
    0.12654371030929146,
  ]],
] as const;

/** A corner of an example picture. */
async function example(name: string, height: number, width: number): Promise<Tensor> {
  const { data, info } = await sharp(`${weights}/${name}.png`).extract({ left: 0, top: 0, width, height })
    .removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return tensor(Float32Array.from(data, (v) => v / 127.5 - 1), [1, info.height, info.width, 3]);
}

async function expectDistances(lpips: LPIPS): Promise<void> {
  for (const [i, [name, height, width]] of pairs.entries()) {
    const images = [await example("ex_ref", height, width), await example(name, height, width)];
    const [reference, other] = images.map((image) => lpips.features(image));
    const wanted = distances[lpips.kind][i];
    expect(Math.abs(await lpips.distance(reference, other).item() - wanted)).toBeLessThan(3e-7);
    expect(await scope(() => lpips.distance(reference, reference)).item()).toBe(0);
  }
}

/** Writes what lpips 0.1.4 saves: each head stands there twice. */
async function writeWhole(name: string, lpips: LPIPS, prefix = ""): Promise<string> {
  const entries = [...lpips.stateDict()].flatMap(([key, t]) => {
    const names = /^lin\d/.test(key) ? [key, key.replace(/^lin(\d)/, "lins.$1")] : [key];
    return names.map((name) => {
      const entry = {
        name: prefix + name,
        shape: [...t.shape],
        dtype: "f32",
        data: () => t.floats(),
      } as const;
      return [prefix + name, entry] as const;
    });
  });
  const path = join(folder, name);
  await writeTorch(path, new Map(entries));
  return path;
}

describe(present ? "LPIPS" : "LPIPS, skipped: ../shared/weights is not there", () => {
  const check = present ? test : test.skip;

  for (const net of ["vgg", "squeeze", "alex"] as const) {
    check(
      `on ${perceptualNames[net]} gives the package's distances, from two files or from one`,
      async () => {
        const lpips = new LPIPS(net);
        await loadPerceptual(lpips, files[net]);
        await asyncScope(() => expectDistances(lpips));
        if (net === "vgg") return lpips.dispose(); // a second copy would take 59 MB and teach nothing
        const { backbone, heads } = files[net];
        expect(await findPerceptual([heads, backbone])).toEqual({ net, files: files[net] });
        for (const prefix of ["", "loss.perceptual_loss."]) {
          const whole = await writeWhole(`${net}${prefix}.pth`, lpips, prefix), again = new LPIPS(net);
          expect(await findPerceptual([whole])).toEqual({ net, files: { whole } });
          await loadPerceptual(again, { whole });
          await asyncScope(() => expectDistances(again));
          again.dispose();
        }
        lpips.dispose();
      },
    );
  }

  for (const [net, name, height, width, mean, values] of maps) {
    check(`on ${perceptualNames[net]} gives the package's map of ${name}`, async () => {
      const lpips = new LPIPS(net);
      await loadPerceptual(lpips, files[net]);
      await asyncScope(async () => {
        const [a, b] = [await example("ex_ref", height, width), await example(name, height, width)];
        const map = await lpips.map(a, b).floats();
        const [right, bottom] = [width - 1, (height - 1) * width];
        const found = [0, right, 7 * width + 20, 30 * width + 30, bottom, bottom + right].map((at) =>
          map[at]
        );
        expect(maxError(found, values)).toBeLessThan(1e-6);
        expect(Math.abs(map.reduce((sum, value) => sum + value) / map.length - mean)).toBeLessThan(3e-7);
      });
      lpips.dispose();
    });
  }

  check("names networks and heads that do not belong together", async () => {
    const lpips = new LPIPS("vgg"), { vgg, squeeze, alex } = files;
    const mixed: [() => Promise<unknown>, string][] = [
      [
        () => loadPerceptual(lpips, squeeze),
        `${squeeze.backbone}: VGG16 expected, but it holds SqueezeNet 1.1`,
      ],
      [
        () => loadPerceptual(lpips, { backbone: vgg.backbone, heads: alex.heads }),
        "it holds heads for AlexNet",
      ],
      [() => loadPerceptual(lpips, { whole: vgg.heads }), "VGG16 expected, but it holds heads for VGG16"],
      [
        () => findPerceptual([alex.backbone, vgg.heads]),
        `${alex.backbone} holds AlexNet, and ${vgg.heads} holds heads for VGG16; a classifier`,
      ],
      [
        () => findPerceptual([squeeze.heads]),
        `${squeeze.heads} holds heads for SqueezeNet 1.1; a classifier`,
      ],
    ];
    for (const [found, message] of mixed) await expect(found()).rejects.toThrow(message);
    lpips.dispose();
  });

  check("chooses from a folder what belongs together", async () => {
    // it holds AlexNet with heads for it and for VGG16
    expect(await findPerceptual([weights])).toEqual({ net: "alex", files: files.alex });
    const all = [weights, ...Object.values(files.squeeze), ...Object.values(files.vgg), files.alex.heads];
    expect((await findPerceptuals(all)).map(({ net }) => net).sort()).toEqual(["alex", "squeeze", "vgg"]);
  });
});

test("dropout keeps the mean and drops half", async () => {
  await expectNoLeak(async () => {
    const y = await asyncScope(() => dropHalf(ones([20_000]), new Random(1)).floats());
    const dropped = y.filter((v) => v === 0).length / y.length;
    expect(Math.abs(dropped - 0.5)).toBeLessThan(0.0125);
    expect(Math.max(...y)).toBe(2);
  });
});

test("a perceptual network without weights refuses to compare", () => {
  expect(() => new LPIPS("squeeze").features(zeros([1, 32, 32, 3]))).toThrow("no weights are loaded");
});
