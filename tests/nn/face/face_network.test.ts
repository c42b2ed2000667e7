// The face network against the npm package @vladmandic/face-api itself, which wrote the goldens on TensorFlow.js
// (tests/fixtures/face/make.cjs): detection, alignment and embeddings of whole pictures, cut ones, and ones without a face.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readImage } from "../../../data/index.ts";
import { cropPicture, type Picture, toFloats } from "../../../data/pictures/picture.ts";
import { type Face, FaceNetwork } from "../../../nn/index.ts";
import { squareOf } from "../../../nn/face/resize.ts";
import {
  asyncScope,
  backward,
  concat,
  memory,
  noGrad,
  scope,
  type Tensor,
  tensor,
} from "../../../src/index.ts";
import { loadFaceNetwork } from "../../../train/index.ts";
import { describeDevices } from "../../support/devices.ts";
import { expectClose, expectNoLeak } from "../../support/expectations.ts";
import { draws } from "../../support/numbers.ts";
import { scoped } from "../../support/tensors.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds, too few on a busy machine

interface GoldenFace {
  readonly score: number;
  readonly box: readonly number[];
  readonly landmarks: readonly number[];
  readonly aligned: readonly number[];
  readonly embedding: readonly number[];
}
interface Golden {
  readonly parts: readonly {
    readonly part: [number, number, number, number];
    readonly face: GoldenFace | null;
  }[];
  /** Of sum_i cos(i) embedding_i at every 61st byte of the first part. */
  readonly gradient: readonly number[];
  /** Of the highest score at every 61st byte of the first part. */
  readonly scoreGradient: readonly number[];
  readonly shared: Readonly<Record<string, GoldenFace | null>>;
}
const at = (name: string) => fileURLToPath(new URL(`../../fixtures/face/${name}`, import.meta.url));
const wanted = JSON.parse(readFileSync(at("faces.json"), "utf8")) as Golden;
const sheet = await readImage(at("faces.png"));
const part = (i: number) => cropPicture(sheet, ...wanted.parts[i].part);

const before = memory();
const network = await loadFaceNetwork();
afterAll(() => {
  network.dispose();
  expect(memory().liveTensors).toBe(before.liveTensors);
});

const imagesOf = ({ pixels, width, height }: Picture): Tensor =>
  tensor(toFloats(pixels), [1, height, width, 3]);

async function expectFace(picture: Picture, golden: GoldenFace | null): Promise<void> {
  const images = imagesOf(picture);
  const [face] = await network.find(images);
  if (golden === null) return expect(face).toBe(null);
  expect(Math.abs(face!.score - golden.score)).toBeLessThan(1e-5);
  const numbers = ({ x, y, width, height }: Face["box"]) => [x, y, width, height];
  expectClose(numbers(face!.box), golden.box, 1e-3);
  expectClose(face!.landmarks.flatMap(({ x, y }) => [x, y]), golden.landmarks, 1e-3);
  expect(numbers(face!.aligned)).toEqual([...golden.aligned]);
  expectClose(await network.embed(images, [face]).floats(), golden.embedding, 5e-6);
}

describe("faces as the package finds them", () => {
  for (const [i, { part: where, face }] of wanted.parts.entries()) {
    scoped(
      `${face ? "a face" : "no face"} in the part ${where} of the sheet`,
      () => expectFace(part(i), face),
    );
  }

  const shared = fileURLToPath(new URL("../../../../shared/faces256", import.meta.url));
  for (const [name, face] of Object.entries(wanted.shared)) {
    const path = `${shared}/${name}.jpg`;
    if (!existsSync(path)) test.skip(`${name}: ../shared/faces256 is not there`, () => {});
    else scoped(name, async () => expectFace(await readImage(path), face));
  }
});

describe("comparing two pictures", () => {
  scoped(
    "a picture is itself, a dimmer one is the same person, and one without a face has no distance",
    async () => {
      const face = part(0), { pixels } = face;
      const dimmer = { ...face, pixels: pixels.map((v) => 0.8 * v) },
        black = { ...face, pixels: pixels.map(() => 0) };
      const distances = [];
      for (const other of [face, dimmer, black]) {
        const [{ original, made, distance }] = await network.compare(imagesOf(face), imagesOf(other));
        expect([original === null, made === null]).toEqual([false, other === black]);
        distances.push(distance);
      }
      expect(distances[0]).toBe(0);
      expect(distances[1]).toBeGreaterThan(0);
      expect(distances[1]).toBeLessThan(0.3);
      expect(distances[2]).toBe(null);
    },
  );

  scoped("several pictures at once have the distances of each alone", async () => {
    const [a, b] = [imagesOf(part(0)), imagesOf(part(1))];
    const both = tensor(new Float32Array([...await a.floats(), ...await b.floats()]), [2, 128, 128, 3]);
    const faces = await network.find(both);
    expect(faces.map((face) => face !== null)).toEqual([true, false]);
    const embedding = network.embed(both, faces);
    expect(embedding.shape).toEqual([1, 128]);
    expectClose(await embedding.floats(), wanted.parts[0].face!.embedding, 5e-6);
    expect(network.embed(b, [null]).shape).toEqual([0, 128]);
    const unit = tensor(Float32Array.from(part(0).pixels, (v) => v / 255), [1, 128, 128, 3]);
    expectClose(
      await network.embed(unit, await network.find(unit, "unit"), "unit").floats(),
      await embedding.floats(),
      5e-6,
    );
  });

  test("wrong shapes are refused", async () => {
    await asyncScope(async () => {
      const images = tensor(new Float32Array(2 * 4 * 4 * 3), [2, 4, 4, 3]);
      expect(() => network.embed(images, [null])).toThrow(
        "FaceNetwork.embed: 1 faces for 2 pictures; null says that one has none",
      );
      await expect(network.find(images.reshape(2, 48))).rejects.toThrow(
        "FaceNetwork.find: images have shape [2,48], expected [batch, height, width, 3]",
      );
      await expect(network.compare(images, images.slice([0], [1]))).rejects.toThrow(
        "FaceNetwork.compare: 2 and 1 pictures, expected as many",
      );
    });
  });
});

describe("gradients reach the pixels as in TensorFlow.js", () => {
  const weights = Float32Array.from({ length: 128 }, (_, i) => Math.cos(i));
  const values = [
    {
      of: "the embedding",
      value: (images: Tensor, faces: readonly (Face | null)[]) =>
        network.embed(images, faces).mul(tensor(weights, [128])).sum(),
      golden: wanted.gradient,
      tolerance: 1e-4,
    },
    {
      of: "the score",
      value: (images: Tensor, faces: readonly (Face | null)[]) => network.scores(images, faces).sum(),
      golden: wanted.scoreGradient,
      // of millions of activations some are so near to the kinks of relu6 that roundings decide on which side they are
      tolerance: 5e-3,
    },
  ];
  for (const { of, value, golden, tolerance } of values) {
    scoped(of, async () => {
      const images = imagesOf(part(0)), faces = await network.find(images);
      images.requiresGrad = true;
      scope(() => backward(value(images.mul(1), faces).mul(2)));
      // a step of 1 is 127.5 bytes, and the loss is doubled
      const gradient = (await images.grad!.floats()).filter((_, i) => i % 61 === 0).map((g) => g / 127.5 / 2);
      const largest = golden.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
      expectClose(gradient, golden, tolerance * largest);
      images.grad!.dispose();
    });
  }
});

scoped("scores are those of the faces that were found, and pictures without a face have none", async () => {
  const images = concat([imagesOf(part(1)), imagesOf(part(0))], 0);
  const faces = await network.find(images);
  expect(faces.map((face) => face !== null)).toEqual([false, true]);
  const found = faces.flatMap((face) => face?.score ?? []);
  expectClose(await network.scores(images, faces).floats(), found, 1e-6);
  expect(network.scores(imagesOf(part(1)), [null]).shape).toEqual([0]);
  expect(() => network.scores(images, [null])).toThrow(
    "FaceNetwork.scores: 1 faces for 2 pictures; null says that one has none",
  );
});

describeDevices("cutting out a square", () => {
  test("has the pixels of TensorFlow.js's filter, and gradients as differences have them", async () => {
    await expectNoLeak(() =>
      asyncScope(async () => {
        // 4x2 pixels in the middle of a square of 4, shrunk to 3: at places 0, 4/3 and 8/3
        const x = tensor(draws("square", 6 * 5 * 3), [1, 6, 5, 3], { requiresGrad: true });
        const cut = (x: Tensor) => squareOf(x, { x: 2, y: 1, width: 2, height: 4 }, 3, true);
        const values = await x.floats(), made = await noGrad(() => cut(x)).floats();
        const pixel = (row: number, column: number) =>
          column >= 1 && column < 3 ? values[((1 + row) * 5 + 1 + column) * 3] : 0;
        for (const [i, at] of [0, 4 / 3, 8 / 3].entries()) {
          const row = Math.floor(at), part = at - row;
          const line = (column: number) => (1 - part) * pixel(row, column) + part * pixel(row + 1, column);
          expectClose([made[(3 * i + 1) * 3]], [line(1) * 2 / 3 + line(2) / 3], 1e-6);
        }
        const weights = tensor(draws("weights", 27), [1, 3, 3, 3]);
        scope(() => backward(cut(x.mul(2)).mul(weights).mul(0.5).sum()));
        const gradient = await x.grad!.floats();
        for (const i of [0, 21, 37, 52, 70]) {
          const moved = tensor(values.map((v, j) => (i === j ? v + 1 : v)), x.shape);
          const difference = noGrad(() => cut(moved).sub(cut(x)).mul(weights).sum());
          expectClose([gradient[i]], [await difference.item()], 1e-5); // the map is linear
        }
        x.grad!.dispose();
      })
    );
  });
});

describe("loading", () => {
  test("a file of another network is refused by the tensor that it lacks", async () => {
    const empty = { manifest: '[{"paths":["a.bin"],"weights":[]}]', bytes: new Uint8Array(0) };
    const files = {
      ssd_mobilenetv1_model: empty,
      face_landmark_68_model: empty,
      face_recognition_model: empty,
    };
    await expectNoLeak(() => {
      expect(() => new FaceNetwork(files)).toThrow(
        "ssd_mobilenetv1_model.bin: the tensor MobilenetV1/Conv2d_0_pointwise/weights of shape [any,any,any,any] is missing",
      );
      return Promise.resolve();
    });
  });
});
