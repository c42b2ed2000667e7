// Loads the sharp package, which reads and writes pictures, on first use. Programs that only compute need not install
// it.
import type sharp from "sharp";
import { optionalPackage } from "../../src/packages.ts";

/** @throws with installation instructions if sharp is not installed */
export async function loadSharp(): Promise<typeof sharp> {
  return (await optionalPackage<{ default: typeof sharp }>("sharp", "reading and writing pictures")).default;
}
