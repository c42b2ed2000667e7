// The panels of the page, in their order.
import type { Panel } from "../panel.ts";
import { facePanel } from "./face.ts";

export const panels: readonly Panel[] = [facePanel];
