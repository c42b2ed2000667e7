// The panels of the page, in their order.
import type { Panel } from "../panel.ts";
import { checkpointPanel } from "./checkpoint.ts";
import { facePanel } from "./face.ts";
import { mixPanel } from "./mix.ts";
import { paintPanel } from "./paint.ts";
import { reachPanel } from "./reach.ts";

export const panels: readonly Panel[] = [facePanel, paintPanel, mixPanel, reachPanel, checkpointPanel];
