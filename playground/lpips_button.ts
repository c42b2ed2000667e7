// A button that chooses the files of LPIPS.
/// <reference lib="dom" />
import type { App } from "./app.ts";
import { button, html } from "./page/dom.ts";
import { takeFile } from "./drop.ts";

export function lpipsButton(app: App): HTMLButtonElement {
  return button("Choose LPIPS weights", () => {
    const input = html("input", { type: "file", accept: ".pth,.pt,.safetensors,.bin,.ckpt", multiple: true });
    input.onchange = async () => {
      for (const file of input.files ?? []) await takeFile(app, file);
    };
    input.click();
  });
}
