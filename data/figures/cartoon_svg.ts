// Draws cartoon faces for demonstrations and tests as SVG with the facesjs package, so that nothing is downloaded and
// no real person is shown. A seed gives the same face in every runtime.
import { Random } from "../../src/random.ts";

/** Plain light backgrounds, against which every face stands out. */
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

/** The `viewBox` of an SVG that contains a cartoon face. */
export const cartoonViewBox: string = `${frame.left} ${frame.top} ${frame.side} ${frame.side}`;

/**
 * facesjs has no parameter for a random generator but calls the global Math.random, and it expects Node's `global`,
 * which web pages do not have. Both are set while it runs and restored afterwards, also after an error. The work is
 * synchronous, so that no other code can see the change.
 */
function withGlobals<T>(random: Random, work: () => T): T {
  const original = Math.random, all = globalThis as { global?: unknown };
  const isLacking = all.global === undefined;
  Math.random = () => random.next();
  if (isLacking) all.global = globalThis;
  try {
    return work();
  } finally {
    Math.random = original;
    if (isLacking) delete all.global;
  }
}

/**
 * Returns the cartoon face of a seed as SVG: the content of an `<svg>` element whose viewBox is `cartoonViewBox`. In a
 * web page, call it in a worker: facesjs sets the global `document`, which a page does not allow.
 * @example A face as a file
 * ```ts
 * import { cartoonFaceSvg, cartoonViewBox } from "@tessera/vqgan/core";
 *
 * const face = await cartoonFaceSvg(7);
 * const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${cartoonViewBox}">${face}</svg>`;
 * ```
 */
export async function cartoonFaceSvg(seed: number): Promise<string> {
  const { faceToSvgString, generate } = await import("facesjs");
  const random = new Random(seed).fork("cartoon face");
  const pick = <T>(from: readonly T[]): T => from[random.integer(from.length)];
  const background = pick(backgrounds),
    teamColors = pick(jerseys),
    gender = pick(["female", "male"] as const);
  const svg = withGlobals(random, () => {
    const face = generate({ teamColors }, { gender });
    if (face.accessories.id === "santa-hat") face.accessories.id = "none"; // taller than the frame
    return faceToSvgString(face);
  });
  const { left, top, side } = frame;
  const inside = svg.slice(svg.indexOf(">") + 1, svg.lastIndexOf("</svg>"));
  return `<path fill="${background}" d="M${left} ${top}h${side}v${side}h-${side}z"/>${inside}`;
}
