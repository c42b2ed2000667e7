// All operations of the engine. The page knows only their types.
import { codeColors } from "./code_colors.ts";
import { codebook, codePictures, neighbours, walk } from "./codebook.ts";
import { decode } from "./decode.ts";
import { encode } from "./encode.ts";
import type { Operation } from "./engine.ts";
import { judge, lpips } from "./judges.ts";
import { layers } from "./layers.ts";
import { learn, learnEnd, learnSave, learnStart, learnWeights } from "./learn.ts";
import { mix } from "./mix.ts";
import { open } from "./open.ts";
import { picture } from "./picture.ts";
import { reach } from "./reach.ts";
import { toyRestart, toyStart, toySteps } from "./toy.ts";

export const operations = {
  open,
  encode,
  decode,
  picture,
  codeColors,
  mix,
  reach,
  codebook,
  neighbours,
  walk,
  codePictures,
  layers,
  lpips,
  judge,
  learnStart,
  learnWeights,
  learn,
  learnSave,
  learnEnd,
  toyStart,
  toySteps,
  toyRestart,
} satisfies Record<string, Operation>;
