// Reads the weights of the face network from the npm package @vladmandic/face-api, of which nothing else is used.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { type FaceFile, type FaceFiles, faceFiles, FaceNetwork } from "../nn/index.ts";
import { versions } from "../src/packages.ts";

const name = "@vladmandic/face-api";

/**
 * Loads the face network from the npm package @vladmandic/face-api, which must be installed.
 * @returns a network on the current device; `dispose` frees it
 * @throws one line that says how to install the package, if it is not there
 * @example Whether two pictures show the same person
 * ```ts
 * import { loadFaceNetwork, readImage, samePerson, tensor, toFloats } from "@tessera/vqgan";
 *
 * async function areSame(a: string, b: string): Promise<boolean | null> {
 *   const network = await loadFaceNetwork();
 *   const pictures = await Promise.all([a, b].map((path) => readImage(path)));
 *   const [x, y] = pictures.map((p) => tensor(toFloats(p.pixels), [1, p.height, p.width, 3]));
 *   const [{ distance }] = await network.compare(x, y); // null if one of them has no face
 *   return distance === null ? null : distance < samePerson;
 * }
 * ```
 */
export async function loadFaceNetwork(): Promise<FaceNetwork> {
  const folder = join(packageFolder(), "model");
  const read = async (file: string): Promise<FaceFile> => ({
    manifest: await readFile(join(folder, `${file}-weights_manifest.json`), "utf8"),
    bytes: new Uint8Array(await readFile(join(folder, `${file}.bin`))),
  });
  const files = await Promise.all(faceFiles.map(async (file) => [file, await read(file)] as const));
  return new FaceNetwork(Object.fromEntries(files) as FaceFiles);
}

/** Looks beside Tessera and in the folder where the program runs: Tessera itself may have been loaded over https. */
function packageFolder(): string {
  for (const from of [import.meta.url, pathToFileURL(join(process.cwd(), "x.js")).href]) {
    if (!from.startsWith("file:")) continue;
    try {
      return dirname(createRequire(from).resolve(`${name}/package.json`));
    } catch {
      // the error below says what to do
    }
  }
  const way = "Deno" in globalThis
    ? `deno add npm:${name}@${versions[name]}`
    : `npm install ${name}@${versions[name]}`;
  throw new Error(`the face network needs the package ${name}: ${way}`);
}
