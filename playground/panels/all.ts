// The panels of the page, in their order.
import type { Panel } from "../panel.ts";
import { checkpointPanel } from "./checkpoint.ts";
import { codebookPanel } from "./codebook.ts";
import { facePanel } from "./face.ts";
import { judgesPanel } from "./judges.ts";
import { layersPanel } from "./layers.ts";
import { learnPanel } from "./learn.ts";
import { mixPanel } from "./mix.ts";
import { paintPanel } from "./paint.ts";
import { reachPanel } from "./reach.ts";
import { toyPanel } from "./toy.ts";

export const panels: readonly Panel[] = [
  facePanel,
  paintPanel,
  codebookPanel,
  mixPanel,
  reachPanel,
  layersPanel,
  judgesPanel,
  toyPanel,
  learnPanel,
  checkpointPanel,
];
