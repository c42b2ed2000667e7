// Chapter 8: where the numbers of the published checkpoint are. The list of its tensors is a fixture of the tests.
import { readFileSync } from "node:fs";
import type { Picture } from "../../../mod.ts";
import { palette, Sketch } from "./sketch.ts";

/** The tensors of the published checkpoint: key, and how many numbers. */
export function checkpointTensors(): { key: string; count: number }[] {
  const list = readFileSync(new URL("../../../tests/fixtures/f16_16384_keys.tsv", import.meta.url), "utf8");
  return list.trim().split("\n").map((line) => {
    const [key, shape] = line.split("\t");
    return { key, count: shape.split("x").reduce((product, n) => product * (Number(n) || 1), 1) };
  });
}

/** Title, the beginning of the keys, and the side and channels of what lies at its end (for a picture of 256x256). */
const rows: readonly (readonly [title: string, keys: RegExp, about: string])[] = [
  ["encoder: first layer", /^encoder\.conv_in/, "256x256, 128 channels"],
  ["encoder.down.0", /^encoder\.down\.0/, "to 128x128"],
  ["encoder.down.1", /^encoder\.down\.1/, "to 64x64"],
  ["encoder.down.2", /^encoder\.down\.2/, "to 32x32, 256 channels"],
  ["encoder.down.3", /^encoder\.down\.3/, "to 16x16"],
  ["encoder.down.4", /^encoder\.down\.4/, "16x16, 512 channels, attention"],
  ["encoder.mid", /^encoder\.mid/, "16x16, attention"],
  ["encoder: last layers", /^encoder\.(norm_out|conv_out)/, "to 256 channels"],
  ["quant_conv", /^quant_conv/, "a 1x1 convolution"],
  ["quantize", /^quantize/, "16,384 codes of 256 numbers"],
  ["post_quant_conv", /^post_quant_conv/, "a 1x1 convolution"],
  ["decoder: first layer", /^decoder\.conv_in/, "to 512 channels"],
  ["decoder.mid", /^decoder\.mid/, "16x16, attention"],
  ["decoder.up.4", /^decoder\.up\.4/, "attention, to 32x32"],
  ["decoder.up.3", /^decoder\.up\.3/, "to 64x64, 256 channels"],
  ["decoder.up.2", /^decoder\.up\.2/, "to 128x128"],
  ["decoder.up.1", /^decoder\.up\.1/, "to 256x256, 128 channels"],
  ["decoder.up.0", /^decoder\.up\.0/, "256x256"],
  ["decoder: last layers", /^decoder\.(norm_out|conv_out)/, "to red, green and blue"],
  ["loss.discriminator", /^loss\.discriminator/, "only for training"],
  ["loss.perceptual_loss", /^loss\.perceptual_loss/, "LPIPS with VGG16, only for training, frozen"],
];

export async function draw(): Promise<Picture> {
  const tensors = checkpointTensors(), step = 24;
  const sketch = await Sketch.of(1000, 48 + step * rows.length);
  ["tensors", "numbers"].forEach((name, i) => {
    sketch.text(name, 250 + 90 * i, 22, { size: 13, anchor: "end", color: palette.soft });
  });
  let seen = 0;
  for (const [i, [title, keys, about]] of rows.entries()) {
    const own = tensors.filter(({ key }) => keys.test(key)), y = 32 + step * i;
    const count = own.reduce((sum, each) => sum + each.count, 0);
    seen += own.length;
    const color = title.startsWith("enc") || title === "quant_conv"
      ? palette.blue
      : title === "quantize"
      ? palette.orange
      : title.startsWith("loss")
      ? palette.soft
      : palette.green;
    sketch.text(title, 10, y + 17, { size: 13 });
    sketch.text(String(own.length), 250, y + 17, { size: 13, anchor: "end" });
    sketch.text(count.toLocaleString("en-US"), 340, y + 17, { size: 13, anchor: "end" });
    const width = Math.max(1.5, count / 5e4);
    sketch.box(352, y + 4, width, step - 7, "none", color);
    sketch.text(about, 360 + width, y + 17, { size: 12, color: palette.soft, maxWidth: 620 - width });
  }
  if (seen !== tensors.length) throw new Error(`parts.ts: ${seen} of ${tensors.length} tensors are in a row`);
  return await sketch.render();
}
