// Random changes of training pictures, so that a model learns more colours, backgrounds and sizes than its pictures have. Each
// kind draws its own random numbers, so that turning one on does not change what the others do.
import { check, checkOptions, isNumber, type Rule, rule, type Rules } from "../../src/check.ts";
import type { Random } from "../../src/random.ts";
import { checkPicture, cropPicture, Picture } from "./picture.ts";

/**
 * The strength of each change; 0 leaves it out. `hue`, `saturation`, `whiteBalance` and `light` are drawn for every picture, so
 * that small changes are frequent and the full strength is rare.
 */
export interface Augment {
  /** The largest rotation of all hues, in degrees up to 180. */
  readonly hue?: number;
  /** By how much colours become paler or stronger, 0 to 1: 0.5 multiplies the saturation by 0.5 to 1.5. */
  readonly saturation?: number;
  /** By how much red and blue are amplified or weakened, 0 to 1, as under warmer or colder lamps. Grey keeps its brightness. */
  readonly whiteBalance?: number;
  /**
   * How often the surroundings of the middle get other colours, 0 to 1. In a portrait the middle is the face: an ellipse with a
   * soft edge stays as it is.
   */
  readonly background?: number;
  /** By how much brightness, contrast and gamma change, 0 to 1. */
  readonly light?: number;
  /**
   * How much larger or smaller the picture becomes, at least 1: 2 draws a side between half and twice the size. A larger one is
   * cropped at random, and a smaller one is continued by its mirror images.
   */
  readonly scale?: number;
}

const between = (least: number, most: number): Rule =>
  rule(`a number from ${least} to ${most}`, (value) => isNumber(value) && value >= least && value <= most);

const rules: Rules<Augment> = {
  hue: between(0, 180),
  saturation: between(0, 1),
  whiteBalance: between(0, 1),
  background: between(0, 1),
  light: between(0, 1),
  scale: between(1, 8),
};

/** The rule for an option that is a set of changes. */
export const anAugment: Rule = rule("changes such as { hue: 30 }", (value) => {
  try {
    checkAugment("augment", value as Augment);
    return true;
  } catch {
    return false;
  }
});

/** @throws TypeError naming the first strength that is not in its range */
export function checkAugment(who: string, augment: Augment): void {
  checkOptions(who, augment, rules);
}

/** The strength that each change has if none is named. */
export const augmentStrengths: Readonly<Required<Augment>> = {
  hue: 60,
  saturation: 0.6,
  whiteBalance: 0.3,
  background: 0.5,
  light: 0.4,
  scale: 1.6,
};

/** The side to which a picture is resized before `augmented`, for pictures of `size` in the end. */
export function augmentedSide(size: number, augment: Augment, random: Random): number {
  const { scale = 1 } = augment;
  if (scale === 1) return size;
  return Math.max(1, Math.round(size * scale ** signed(random.fork("scale"))));
}

/**
 * Returns a square picture with all changes, `size` pixels wide.
 * @param picture a square whose side is `augmentedSide` of the same random numbers
 * @param random the picture's own numbers; equal ones make equal pictures
 * @example
 * ```ts
 * import { augmented, Random } from "@tessera/vqgan/core";
 *
 * const grey = { width: 8, height: 8, pixels: new Uint8Array(3 * 64).fill(99) };
 * const changed = augmented(grey, 8, { light: 0.5, whiteBalance: 0.3 }, new Random(7)); // { width: 8, height: 8, ... }
 * ```
 * @throws if the picture is not a square, or a strength is not in its range
 */
export function augmented(picture: Picture, size: number, augment: Augment, random: Random): Picture {
  checkPicture("augmented", picture);
  checkAugment("augmented", augment);
  check("augmented", "the number of rows", picture.height, isSide(picture.width));
  const { background = 0 } = augment, surroundings = random.fork("background");
  const isReplaced = surroundings.next() < background;
  const changed = isReplaced ? withBackground(picture, surroundings) : picture;
  return withColours(fitted(changed, size, random.fork("place")), augment, random);
}

const isSide = (width: number): Rule =>
  rule(`${width}, because it is a square`, (height) => height === width);

/** A number from -1 to 1. */
function signed(random: Random): number {
  return 2 * random.next() - 1;
}

/** A number from -1 to 1 that is near 0 more often: half of them are within an eighth of it. */
function mostlySmall(random: Random): number {
  return signed(random) ** 3;
}

/** Cuts a square of `size` out of a larger picture, or continues a smaller one by its mirror images, at a random place. */
function fitted(picture: Picture, size: number, random: Random): Picture {
  const side = picture.width, [top, left] = [random.next(), random.next()];
  if (side === size) return picture;
  if (side > size) {
    const at = (u: number) => Math.floor(u * (side - size + 1));
    return cropPicture(picture, at(left), at(top), size, size);
  }
  const pixels = new Uint8Array(3 * size * size), free = size - side + 1;
  /** The row or column whose values a place gets: 0 1 2 2 1 0 0 1 ... to both sides. */
  const mirrored = (place: number) => {
    const within = ((place % (2 * side)) + 2 * side) % (2 * side);
    return within < side ? within : 2 * side - 1 - within;
  };
  const [down, right] = [Math.floor(top * free), Math.floor(left * free)];
  for (let y = 0; y < size; y++) {
    const row = mirrored(y - down) * side;
    for (let x = 0; x < size; x++) {
      const from = 3 * (row + mirrored(x - right)), to = 3 * (y * size + x);
      pixels.set(picture.pixels.subarray(from, from + 3), to);
    }
  }
  return new Picture(size, size, pixels);
}

/** The weights of red, green and blue in the brightness (BT.601). */
const luma: readonly number[] = [0.299, 0.587, 0.114];

/** Blends what is around the middle with a smooth change from one random colour to another, and keeps some of its detail. */
function withBackground({ width: side, pixels }: Picture, random: Random): Picture {
  const vivid = random.next(); // 0: grey, 1: any colour
  const colours = [0, 1].map(() => {
    const grey = 255 * random.next();
    return [0, 1, 2].map(() => grey + vivid * (255 * random.next() - grey));
  });
  const angle = 2 * Math.PI * random.next(), [across, down] = [Math.cos(angle), Math.sin(angle)];
  const detail = random.next();
  const [centreX, centreY] = [0.5 + 0.05 * signed(random), 0.5 + 0.05 * signed(random)];
  const [radiusX, radiusY] = [0.3 + 0.1 * random.next(), 0.4 + 0.1 * random.next()];
  const changed = new Uint8Array(pixels.length);
  for (let i = 0; i < pixels.length; i += 3) {
    const x = (i / 3 % side + 0.5) / side, y = (Math.floor(i / 3 / side) + 0.5) / side;
    const distance = Math.hypot((x - centreX) / radiusX, (y - centreY) / radiusY);
    const weight = Math.min(1, Math.max(0, (distance - 1) / 0.3)); // 0 within the ellipse, 1 from 1.3 radii on
    const along = 0.5 + 0.7 * ((x - 0.5) * across + (y - 0.5) * down);
    const bright = luma[0] * pixels[i] + luma[1] * pixels[i + 1] + luma[2] * pixels[i + 2];
    for (let c = 0; c < 3; c++) {
      const colour = colours[0][c] * (1 - along) + colours[1][c] * along + detail * (bright - 128);
      changed[i + c] = clampByte(pixels[i + c] * (1 - weight) + colour * weight);
    }
  }
  return new Picture(side, side, changed);
}

/** Changes gamma, then hue, saturation, white balance, contrast and brightness, which are one matrix and a sum. */
function withColours(picture: Picture, augment: Augment, random: Random): Picture {
  const { hue = 0, saturation = 0, whiteBalance = 0, light = 0 } = augment;
  if (hue === 0 && saturation === 0 && whiteBalance === 0 && light === 0) return picture;
  const lamp = random.fork("white balance"), lights = random.fork("light");
  const gamma = 2 ** (light * mostlySmall(lights)), contrast = 1 + light * mostlySmall(lights);
  const shift = 255 * 0.5 * light * mostlySmall(lights);
  const [red, blue] = [1 + whiteBalance * mostlySmall(lamp), 1 + whiteBalance * mostlySmall(lamp)];
  const green = (1 - luma[0] * red - luma[2] * blue) / luma[1]; // a grey as bright as before
  const turn = hueMatrix(
    hue * Math.PI / 180 * mostlySmall(random.fork("hue")),
    1 + saturation * mostlySmall(random.fork("saturation")),
  );
  const gains = [red, green, blue];
  const matrix = turn.map((row, c) => row.map((weight) => weight * gains[c] * contrast));
  const offset = 128 * (1 - contrast) + shift;
  const curve = Float32Array.from({ length: 256 }, (_, value) => 255 * (value / 255) ** gamma);
  const pixels = new Uint8Array(picture.pixels.length);
  for (let i = 0; i < pixels.length; i += 3) {
    const r = curve[picture.pixels[i]], g = curve[picture.pixels[i + 1]], b = curve[picture.pixels[i + 2]];
    for (let c = 0; c < 3; c++) {
      const [fromRed, fromGreen, fromBlue] = matrix[c];
      pixels[i + c] = clampByte(fromRed * r + fromGreen * g + fromBlue * b + offset);
    }
  }
  return new Picture(picture.width, picture.height, pixels);
}

/**
 * The matrix that turns all hues by an angle and multiplies the saturation, and leaves the brightness Y = 0.299 R + 0.587 G +
 * 0.114 B as it is: it turns and stretches the plane of the colour differences R - Y and B - Y, scaled as in YUV.
 */
function hueMatrix(angle: number, saturation: number): number[][] {
  const [cos, sin] = [saturation * Math.cos(angle), saturation * Math.sin(angle)];
  const [kr, , kb] = luma, [u, v] = [0.492, 0.877]; // U = 0.492 (B - Y), V = 0.877 (R - Y)
  const columns = [0, 1, 2].map((c) => {
    const y = luma[c], bu = u * (Number(c === 2) - y), rv = v * (Number(c === 0) - y);
    const b = y + (cos * bu - sin * rv) / u, r = y + (sin * bu + cos * rv) / v;
    return [r, (y - kr * r - kb * b) / luma[1], b];
  });
  return [0, 1, 2].map((row) => columns.map((column) => column[row]));
}

function clampByte(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : Math.round(value);
}
