// Cartoon faces for demonstrations and tests: drawn by the facesjs package, so nothing is downloaded and no
// real person is shown. Every face is fixed by its seed, in both runtimes.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { faceToSvgString, generate } from "facesjs";
import { Random } from "../../src/random.ts";
import { type Picture, savePng } from "../pictures/images.ts";
import { renderSvg } from "./svg.ts";

/** Plain light backgrounds, from which every face stands out. */
const backgrounds = "#f4efe6 #dfe7ee #cfe3d4 #f2d9d0 #e6dcf0 #f3e6c4 #c9dbe8 #d9d9d9".split(" ");

/** Shirt, trim and second colour of a jersey. */
const jerseys = [
  ["#89bfd3", "#7a1319", "#07364f"],
  ["#d1495b", "#f4efe6", "#3b1f2b"],
  ["#3d7a55", "#f1e3b2", "#1d3b2a"],
  ["#f0b541", "#2f3e66", "#ffffff"],
  ["#4a5fa5", "#e8e8ee", "#1f2850"],
  ["#6d4c8c", "#f0c95d", "#2c1d3d"],
  ["#e9e6df", "#33475b", "#b23a48"],
  ["#39424e", "#e07a3f", "#f2efe9"],
];

/** The square of facesjs's 400 x 600 canvas that holds the head with hair and ears: left, top and side. */
const frame = { left: -10, top: 84, side: 420 };

/**
 * facesjs draws from the global Math.random and takes no generator. It is exchanged for a seeded one while
 * facesjs runs and put back in any case; the work in between is synchronous, so no other code can see the
 * exchange.
 */
function withSeededMath<T>(random: Random, work: () => T): T {
  const original = Math.random;
  Math.random = () => random.next();
  try {
    return work();
  } finally {
    Math.random = original;
  }
}

/** The drawing of a seed: the inside of an SVG over the frame. */
export function cartoonFaceSvg(seed: number): string {
  const random = new Random(seed).fork("cartoon face");
  const pick = <T>(from: readonly T[]): T => from[random.integer(from.length)];
  const background = pick(backgrounds),
    teamColors = pick(jerseys),
    gender = pick(["female", "male"] as const);
  const svg = withSeededMath(random, () => {
    const face = generate({ teamColors }, { gender });
    if (face.accessories.id === "santa-hat") face.accessories.id = "none"; // taller than the frame
    return faceToSvgString(face);
  });
  const { left, top, side } = frame;
  const inside = svg.slice(svg.indexOf(">") + 1, svg.lastIndexOf("</svg>"));
  return `<path fill="${background}" d="M${left} ${top}h${side}v${side}h-${side}z"/>${inside}`;
}

async function drawFace(seed: number, size: number): Promise<Picture> {
  const { left, top, side } = frame;
  return await renderSvg(cartoonFaceSvg(seed), size, size, `${left} ${top} ${side} ${side}`);
}

/**
 * Draws the cartoon face of a seed on a plain background. Equal seeds and sizes give equal pixels.
 * @returns size * size * 3 bytes, RGB
 * @example const pixels = await drawCartoonFace(7, 128);
 */
export async function drawCartoonFace(seed: number, size: number): Promise<Uint8Array> {
  return (await drawFace(seed, size)).pixels;
}

/**
 * Writes `count` faces as PNG files, face_00000.png and on, into a folder made if need be.
 * @param seed the set: other seeds give other faces; face i of a set does not depend on `count`
 * @returns the paths, in order
 */
export async function writeCartoonFaces(
  folder: string,
  count: number,
  size: number,
  seed: number,
  onProgress?: (done: number, count: number) => void,
): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const set = new Random(seed);
  const paths: string[] = [];
  for (let i = 0; i < count; i++) {
    const path = join(folder, `face_${String(i).padStart(5, "0")}.png`);
    await savePng(path, await drawFace(set.fork(`face ${i}`).seed, size));
    paths.push(path);
    onProgress?.(i + 1, count);
  }
  return paths;
}
