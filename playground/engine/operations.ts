// All operations of the engine. The page knows only their types.
import { codeColors } from "./code_colors.ts";
import { decode } from "./decode.ts";
import { encode } from "./encode.ts";
import type { Operation } from "./engine.ts";
import { mix } from "./mix.ts";
import { open } from "./open.ts";
import { reach } from "./reach.ts";

export const operations = { open, encode, decode, codeColors, mix, reach } satisfies Record<
  string,
  Operation
>;
