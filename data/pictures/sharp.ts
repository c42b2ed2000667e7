// sharp, which reads and writes pictures, as it is first needed: no machine that only computes has to have it.
import type sharp from "sharp";
import { optionalPackage } from "../../src/packages.ts";

/** @throws if it is not installed, saying how to install it */
export async function loadSharp(): Promise<typeof sharp> {
  return (await optionalPackage<{ default: typeof sharp }>("sharp", "reading and writing pictures")).default;
}
