// All operations of the engine. The page knows only their types.
import { codeColors } from "./code_colors.ts";
import { decode } from "./decode.ts";
import { encode } from "./encode.ts";
import type { Operation } from "./engine.ts";
import { open } from "./open.ts";

export const operations = { open, encode, decode, codeColors } satisfies Record<string, Operation>;
