// Inception against pytorch-fid's own network in float64, with weights drawn by their names (tests/fixtures/evaluate/make.py),
// and what is said of other files.
import { expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { writeTorch } from "../../../data/index.ts";
import { Inception } from "../../../nn/inception/inception.ts";
import { loadInception } from "../../../nn/inception/load.ts";
import { asyncScope, noGrad, type Shape, tensor } from "../../../src/index.ts";
import { sizeOf } from "../../../src/shape.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expectClose, expectNoLeak } from "../../support/expectations.ts";
import { filled, golden, picture } from "../../support/goldens.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds, too few on a busy machine

const wanted = golden<{ features: number[]; keys: number; hash: string }>("evaluate/inception");

test("features are those of pytorch-fid, and tensors have its names", async () => {
  await expectNoLeak(async () => {
    const network = new Inception();
    const state = network.stateDict();
    const lines = [...state].map(([key, { shape }]) => `${key} ${shape}\n`).sort();
    expect(lines.length).toBe(wanted.keys);
    expect(createHash("sha256").update(lines.join("")).digest("hex")).toBe(wanted.hash);
    for (const [key, t] of state) {
      const values = filled(key, t.shape);
      t.write(t.ndim === 4 ? values.map((v) => v * 1.5) : values);
    }
    await asyncScope(async () => {
      const images = tensor(picture("inception", [1, 3, 40, 56]), [1, 40, 56, 3]);
      const features = await noGrad(() => network.call(images)).floats();
      expect(features.length).toBe(2048);
      const largest = Math.max(...wanted.features);
      expectClose(features.filter((_, i) => i % 8 === 0), wanted.features, 2e-6 * largest);
    });
    network.dispose();
  });
});

test("a file of the FID weights is loaded, and torchvision's is refused", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tessera-inception-"));
  const write = async (name: string, entries: [string, Shape][]) => {
    const path = join(folder, name);
    await writeTorch(
      path,
      new Map(entries.map(([key, shape]) => {
        const data = () => Promise.resolve(new Float32Array(sizeOf(shape)).fill(0.25));
        return [key, { name: key, shape: [...shape], dtype: "f32", data }] as const;
      })),
    );
    return path;
  };
  const empty = new Inception();
  const all = [...empty.stateDict()].map(([key, { shape }]): [string, Shape] => [key, shape]);
  empty.dispose();
  try {
    await expectNoLeak(async () => {
      const path = await write("fid.pth", [...all, ["fc.weight", [1008, 2048]], ["fc.bias", [1008]]]);
      const network = await loadInception(path);
      expect((await network.Conv2d_1a_3x3.conv.weight.floats())[5]).toBe(0.25);
      network.dispose();
      await expect(loadInception(await write("tv.pth", [...all, ["fc.weight", [1000, 2048]]]))).rejects
        .toThrow(
          "tv.pth: torchvision's own Inception, with which no FID is computed: expected pytorch-fid's " +
            "pt_inception-2015-12-05-6726825d.pth",
        );
      await expect(loadInception(await write("less.pth", all.slice(1)))).rejects.toThrow(
        "less.pth: 1 of Inception's tensors do not fit the model: 1 is missing (Conv2d_1a_3x3.conv.weight)",
      );
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});
