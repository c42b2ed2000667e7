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
  "weight of a loss term for the distance of faces, as a face network sees it, such as 0.1; it needs the package @vladmandic/face-api " +
    "(default: 0, none)",
).argParser(nonNegativeNumber);
