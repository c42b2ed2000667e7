// The option of finetune for the identity loss.
import { Option } from "commander";
import { nonNegativeNumber } from "../../options.ts";

/** The value of this option. */
export interface IdentityFlags {
  identity?: number;
}

/** This option, for the command. */
export const identityOption: Option = new Option(
  "--identity <weight>",
  "weight of a loss term for faces, such as 0.1: how far they are from their originals, as a face network sees it, and how much less " +
    "they look like faces; it needs the package @vladmandic/face-api (default: 0, none)",
).argParser(nonNegativeNumber);
