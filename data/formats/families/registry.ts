// All families. A new one is a file in this folder and a line here.
import { diffusers } from "./diffusers.ts";
import type { Family, Stranger } from "./family.ts";
import { llamaGen } from "./llamagen.ts";
import { minDalle } from "./min_dalle.ts";
import { strangers } from "./strangers.ts";
import { taming } from "./taming.ts";

/**
 * In the order in which they are asked. Strangers come first, because some of them have all keys of a VQGAN and a few more.
 */
export const families: readonly (Family | Stranger)[] = [...strangers, diffusers, llamaGen, minDalle, taming];
