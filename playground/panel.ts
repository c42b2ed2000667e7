// What a panel of the page is. A panel is one file of panels/, and a line in panels/all.ts, which sets the order.
//
// A panel gets an empty element and the App (app.ts). It watches the signals of the App (the model, the face, its tokens, ...),
// draws into its element, and asks the engine by `app.engine.ask(op, request)`. What the engine can do is in engine/: one file
// for each operation, with a line in engine/operations.ts. A panel does not import another one; what two panels share is a
// signal of the App, or a part of page/ (canvases, the grid of tokens, sliders). It computes nothing heavy itself, because the
// page must never stand still for more than 150 ms.
import type { App } from "./app.ts";

export interface Panel {
  /** The id of its section, by which the page is linked to: letters and dashes. */
  readonly id: string;
  readonly title: string;
  /** Two sentences that say what one sees. */
  readonly sees: string;
  /** The chapter of docs/book that explains it: its file without the ending. */
  readonly chapter: Chapter;
  /** Fills the element, once. The model and the face may not be there yet, and may change at any time. */
  mount(element: HTMLElement, app: App): void;
}

/** The chapters of docs/book, and what a link to each says. */
export const chapters = {
  "1-pictures": "1 Pictures as tensors",
  "2-gradients": "2 Gradients",
  "3-convolutions": "3 Convolutions",
  "4-autoencoder": "4 An autoencoder, and why it blurs",
  "5-codebook": "5 The codebook",
  "6-lpips": "6 LPIPS",
  "7-discriminator": "7 The discriminator",
  "8-checkpoint": "8 The real checkpoint",
} as const;
export type Chapter = keyof typeof chapters;
