// Another model: from a file, or by its name on the hub.
/// <reference lib="dom" />
import { type App, checkpointEndings, shippedModel } from "../app.ts";
import { button, chooseFile, html } from "../page/dom.ts";
import { fetchBlob } from "../page/fetch_blob.ts";
import { downloadModel } from "../page/hub.ts";
import type { Panel } from "../panel.ts";

export const checkpointPanel: Panel = {
  id: "checkpoint",
  title: "Another model",
  sees:
    "Open a VQGAN from a file of torch, safetensors or Flax, if it fits into the page's memory, and all panels then show that model. " +
    "What the file does not say about the model is guessed from the shapes of its tensors, and listed below.",
  chapter: "8-checkpoint",
  mount,
};

function mount(element: HTMLElement, app: App): void {
  let stopper: AbortController | null = null;
  const name = html("input", {
    type: "text",
    id: "hub-name",
    placeholder: "hf:boris/vqgan_f16_16384",
    autocomplete: "off",
    spellcheck: false,
  });
  const facts = html("dl", { className: "facts" }),
    activity = html("p", { className: "readout", "aria-live": "polite" });
  const load = html("button", { type: "submit" }, "Download and open");
  const stop = button("Stop", () => stopper?.abort(), { hidden: true });
  const download = async (name: string) => {
    const controller = stopper = new AbortController();
    load.disabled = !(stop.hidden = false);
    const found = await app.during(`downloading ${name}`, () =>
      downloadModel(name, {
        signal: controller.signal,
        onShare: (share) => app.activity.set(`downloading ${name}: ${Math.floor(share * 100)} %`),
      }));
    load.disabled = !(stop.hidden = true);
    if (found) await app.openModel(found.name, found.file);
  };
  const back = async () => {
    const file = await app.during("fetching the small model", () => fetchBlob(shippedModel));
    if (file) await app.openModel(shippedModel, file);
  };
  const form = html(
    "form",
    { className: "bar" },
    html("label", { for: "hub-name" }, "Name on the Hugging Face hub, or web address"),
    name,
    load,
    stop,
  );
  form.onsubmit = (event) => {
    event.preventDefault();
    const text = name.value.trim() || name.placeholder;
    name.value = text;
    void download(text);
  };
  element.append(
    html(
      "div",
      { className: "bar" },
      button(
        "Open a checkpoint",
        () => chooseFile(checkpointEndings.join(), (file) => void app.openModel(file.name, file)),
      ),
      button("Back to the small model", () => void back()),
      html("span", { className: "hint" }, "or drop a file anywhere on the page"),
    ),
    form,
    activity,
    facts,
  );
  app.activity.watch((text) => activity.textContent = text);
  app.model.watch((model) => {
    if (!model) return;
    const { vocabulary, embedDim, parameters, size, factor, device, assumed, note } = model;
    const rows: [string, string][] = [
      ["file", note === null ? model.name : `${model.name}: ${note}`],
      ["codebook", `${vocabulary.toLocaleString("en")} codes of ${embedDim} numbers`],
      ["weights", `${(parameters / 1e6).toFixed(1)} million numbers in encoder, decoder and codebook`],
      ["pictures", `${size} x ${size} pixels, a token for each tile of ${factor} x ${factor}`],
      ["computes on", device],
    ];
    if (assumed.length > 0) rows.push(["not in the file, so assumed", assumed.join(", ")]);
    facts.replaceChildren(...rows.flatMap(([term, text]) => [html("dt", {}, term), html("dd", {}, text)]));
  });
}
