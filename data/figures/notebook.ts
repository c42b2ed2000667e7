// Lets notebooks show tensors and pictures: a Jupyter kernel asks a value's method Symbol.for("Jupyter.display") for what to
// show, by media type. The method is given to both classes here and not where they are declared, because it needs sharp, which
// web pages do not have.
import { Buffer } from "node:buffer";
import { Tensor } from "../../src/array.ts";
import { Picture, toPictures } from "../pictures/picture.ts";
import { loadSharp } from "../pictures/sharp.ts";
import { enlarge, grid } from "./sheets.ts";

/** Smaller pictures are enlarged by a whole factor up to this side, so that their pixels are seen as squares; those of a batch to less. */
const alone = 256, amongOthers = 160;
/** Pictures above this side are shown smaller, because a notebook's file holds what it shows. */
const longest = 1024;
/** How many pictures of a batch are shown at most, and in a row. */
const shown = 16, columns = 8;
/** Below this side, [B, H, W, C] is more likely the weight of a convolution than a batch of pictures. */
const smallest = 8;

/** What a kernel sends to the notebook. Images are in base64. */
type MediaBundle = Readonly<Record<string, string>>;

/** The picture with squares for pixels, as large as fits into the side. A picture that is larger already is returned as it is. */
function enlargeTo(picture: Picture, side: number): Picture {
  const times = Math.floor(side / Math.max(picture.width, picture.height));
  return times > 1 ? enlarge(picture, times) : picture;
}

async function showPicture(picture: Picture): Promise<MediaBundle> {
  const { width, height, pixels } = enlargeTo(picture, alone), sharp = await loadSharp();
  const png = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .resize({ width: longest, height: longest, fit: "inside", withoutEnlargement: true })
    .png({ compressionLevel: 9 }).toBuffer();
  return {
    "text/plain": `Picture of ${picture.width}x${picture.height} pixels`,
    "image/png": Buffer.from(png).toString("base64"),
  };
}

/** The pictures in a tensor of floats [B, H, W, 3] or [B, H, W, 1], from -1 to 1; none if it holds something else. */
async function picturesIn(tensor: Tensor): Promise<Picture[]> {
  const { shape: [count, height, width, channels], dtype } = tensor;
  if (tensor.disposed || tensor.ndim !== 4 || dtype === "i32" || count === 0) return [];
  if (Math.min(height, width) < smallest || channels !== 3 && channels !== 1) return [];
  const values = await tensor.floats(), length = Math.min(shown, count) * height * width;
  const colours = channels === 3
    ? values.subarray(0, 3 * length)
    : Float32Array.from({ length: 3 * length }, (_, i) => values[Math.floor(i / 3)]);
  return toPictures(colours, [Math.min(shown, count), height, width, 3]);
}

async function showTensor(tensor: Tensor): Promise<MediaBundle> {
  const pictures = await picturesIn(tensor), text = { "text/plain": String(tensor) };
  if (pictures.length === 0) return text;
  if (pictures.length === 1) return { ...await showPicture(pictures[0]), ...text };
  const across = Math.min(columns, pictures.length), padding = 2;
  const side = Math.min(amongOthers, (longest - padding) / across - padding);
  const sheet = grid(pictures.map((picture) => enlargeTo(picture, side)), { columns, padding });
  return { ...await showPicture(sheet), ...text };
}

const display = Symbol.for("Jupyter.display");

Object.defineProperty(Picture.prototype, display, {
  value(this: Picture): Promise<MediaBundle> {
    return showPicture(this);
  },
});

Object.defineProperty(Tensor.prototype, display, {
  value(this: Tensor): Promise<MediaBundle> {
    return showTensor(this);
  },
});
