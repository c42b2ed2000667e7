// What notebooks show of pictures and tensors.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { Buffer } from "node:buffer";
import { cropPicture, encodePng, Picture, plotCurves, readImage, tensor, toFloats } from "../../../mod.ts";
import { enlarge } from "../../../data/figures/sheets.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

/** What a kernel gets when it asks a value how to show it. */
async function shownOf(value: object): Promise<Record<string, string>> {
  const method: unknown = Reflect.get(value, Symbol.for("Jupyter.display"));
  return await (method as (this: object) => Promise<Record<string, string>>).call(value);
}

/** The picture that a notebook shows. */
async function drawnOf(value: object): Promise<Picture> {
  return await readImage(Buffer.from((await shownOf(value))["image/png"], "base64"));
}

const pixels = Uint8Array.from({ length: 8 * 12 * 3 }, (_, i) => (i * 53) % 256);
const picture = new Picture(12, 8, pixels);

describe("a picture", () => {
  test("that is small has squares for pixels", async () => {
    expect((await shownOf(picture))["text/plain"]).toBe("Picture of 12x8 pixels");
    expect(await drawnOf(picture)).toEqual(enlarge(picture, 21)); // 252 of 256
  });

  test("of ordinary size is shown as it is, and a huge one smaller", async () => {
    const sheet = enlarge(picture, 30);
    expect(await drawnOf(sheet)).toEqual(sheet);
    const { width, height } = await drawnOf(enlarge(picture, 100));
    expect([width, height]).toEqual([1024, 683]);
  });

  test("is what readers, sheets and plots return", async () => {
    const made = [
      await readImage(await encodePng(picture)),
      cropPicture(picture, 1, 1, 4, 4),
      await plotCurves([{ series: [{ name: "flat", steps: [0, 1], values: [2, 2] }] }], { width: 300 }),
    ];
    for (const each of made) {
      const { width, height } = await drawnOf(each);
      expect(Math.max(width, height)).toBeGreaterThan(250);
    }
  });

  test("copied into a plain object has nothing to show, and is still taken as a picture", async () => {
    const plain = { ...picture };
    expect(Reflect.get(plain, Symbol.for("Jupyter.display"))).toBe(undefined);
    expect(structuredClone(picture)).toEqual(plain); // what a worker receives
    expect(await encodePng(plain)).toEqual(await encodePng(picture));
  });

  test("needs as many bytes as it has pixels", () => {
    expect(() => new Picture(12, 9, pixels)).toThrow(
      "Picture: 288 bytes for 12x9 RGB, expected 324",
    );
  });
});

describe("a tensor", () => {
  test("of one picture shows it, with its shape as text", async () => {
    const x = tensor(toFloats(pixels), [1, 8, 12, 3]);
    expect(await drawnOf(x)).toEqual(enlarge(picture, 21));
    expect((await shownOf(x))["text/plain"]).toBe(String(x));
    x.dispose();
  });

  test("of many pictures shows the first sixteen", async () => {
    const x = tensor(new Float32Array(20 * 8 * 8 * 3), [20, 8, 8, 3]);
    const { width, height } = await drawnOf(x); // in two rows, each pixel as 15x15
    expect([width, height]).toEqual([8 * (120 + 2) + 2, 2 * (120 + 2) + 2]);
    x.dispose();
  });

  test("of one channel is grey", async () => {
    const x = tensor(Float32Array.from({ length: 64 }, (_, i) => i / 31.5 - 1), [1, 8, 8, 1]);
    const { pixels } = await drawnOf(x);
    expect([...pixels.subarray(0, 3), ...pixels.subarray(-3)]).toEqual([0, 0, 0, 255, 255, 255]);
    x.dispose();
  });

  test("of anything else, or that was freed, is text", async () => {
    const others = [
      tensor([1, 2, 3]),
      tensor(new Float32Array(64 * 64 * 9), [64, 64, 3, 3]), // a convolution's weight
      tensor(new Int32Array(8 * 8 * 3), [1, 8, 8, 3]),
    ];
    for (const x of others) expect(await shownOf(x)).toEqual({ "text/plain": String(x) });
    const freed = tensor(toFloats(pixels), [1, 8, 12, 3]);
    for (const x of [...others, freed]) x.dispose();
    expect(await shownOf(freed)).toEqual({ "text/plain": "Tensor [1,8,12,3] f32 on cpu, freed" });
  });
});
