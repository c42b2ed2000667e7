// Fine-tunes the model on a few pictures, with weights of the losses that can be changed while it learns.
/// <reference lib="dom" />
import type { Picture, PictureSource } from "../../core.ts";
import { psnr } from "../../train/metrics.ts";
import type { App } from "../app.ts";
import type { LossWeights, StepReport } from "../engine/learn.ts";
import { pictureCanvas, showPicture } from "../page/canvas.ts";
import { Chart } from "../page/chart.ts";
import { Latest } from "../page/client.ts";
import { button, html } from "../page/dom.ts";
import { exampleCount, exampleFace } from "../page/examples.ts";
import { later } from "../page/later.ts";
import { lpipsButton } from "../lpips_button.ts";
import { Slider } from "../page/slider.ts";
import type { Panel } from "../panel.ts";

export const learnPanel: Panel = {
  id: "learn",
  title: "Let it learn",
  sees:
    "A copy of the model learns a few pictures by heart, here in the page: each step changes all of its weights a little to make the loss smaller. " +
    "The sliders set how much each term of the loss counts, and you can move them while the model learns.",
  chapter: "8-checkpoint",
  mount,
};

/** More pictures than this would be too small to compare, and each needs many steps. */
const mostPictures = 6;
const file = "fine-tuned.safetensors";

function mount(element: HTMLElement, app: App): void {
  let sources: readonly PictureSource[] = [],
    pictures: readonly Picture[] = [],
    running: AbortController | null = null,
    isBegun = false;
  let before: readonly Picture[] = [];
  const readout = html("p", { className: "readout", role: "status" });
  const link = html("a", { download: file, hidden: true });
  const rows = html("div", { className: "rows" });

  const send = new Latest(
    (weights: LossWeights) => app.engine.ask("learnWeights", weights),
    () => {},
    (error) => app.fail(error),
  );
  const changed = () => isBegun && void send.put(weights());
  const two = (value: number) => value.toFixed(2);
  const sliders = {
    pixels: new Slider("L1: pixels", { min: 0.05, max: 2, step: 0.05, value: 1, text: two }, changed),
    perceptual: new Slider("LPIPS", { min: 0, max: 2, step: 0.05, value: 1, text: two }, changed),
    codebook: new Slider("Codebook", { min: 0, max: 4, step: 0.1, value: 1, text: two }, changed),
    gan: new Slider("GAN", { min: 0, max: 1, step: 0.02, value: 0.1, text: two }, changed),
    rate: new Slider("Learning rate", {
      min: -5,
      max: -3,
      step: 0.1,
      value: -4.3,
      text: (value) => (10 ** value).toFixed(5),
    }, changed),
  };
  const weights = (): LossWeights => ({
    pixels: sliders.pixels.value,
    perceptual: sliders.perceptual.value,
    codebook: sliders.codebook.value,
    gan: sliders.gan.value,
    rate: 10 ** sliders.rate.value,
  });
  const charts = {
    pixels: new Chart("L1", "the mean difference of pixels"),
    perceptual: new Chart("LPIPS", "the difference as another network sees it"),
    codebook: new Chart("Codebook", "how far vectors are from their codes"),
    gan: new Chart("GAN", "low if the copies look real to the discriminator"),
    discriminator: new Chart("Discriminator", "its own loss; 1 is guessing"),
  };

  const start = button("Start", () => void (running ? stop() : begin()), { className: "main" });
  const save = button("Save as a file", () => void app.during("saving", keep), { disabled: true });
  const use = button("Use it in the page", () => void app.during("saving", adopt), { disabled: true });

  /** Forgets what was learnt. */
  const reset = () => {
    running?.abort();
    if (isBegun) void app.engine.ask("learnEnd", null);
    isBegun = false;
    before = [];
    save.disabled = use.disabled = true;
    for (const chart of Object.values(charts)) chart.clear();
    drawRows([]);
    readout.textContent = "";
  };
  const drawRows = (now: readonly Picture[]) => {
    const row = (name: string, all: readonly Picture[], note: string) =>
      html(
        "div",
        { className: "row" },
        html("span", {}, name, html("small", {}, note)),
        ...all.map((picture, i) => {
          const canvas = pictureCanvas(`${name}, picture ${i + 1}`);
          later(() => showPicture(canvas, picture));
          return canvas;
        }),
      );
    const quality = (made: readonly Picture[]) =>
      `PSNR ${(made.reduce((sum, each, i) => sum + psnr(pictures[i], each), 0) / made.length).toFixed(2)} dB`;
    rows.replaceChildren(
      row("Pictures", pictures, ""),
      ...before.length > 0 ? [row("Before", before, quality(before))] : [],
      ...now.length > 0 ? [row("Now", now, quality(now))] : [],
    );
  };
  const choosePictures = async (chosen: readonly PictureSource[]) => {
    const { size } = app.model.value!, made: Picture[] = [];
    sources = chosen.slice(0, mostPictures);
    for (const source of sources) made.push(await app.engine.ask("picture", { source, size }));
    pictures = made;
    reset();
  };
  const examples = async () => {
    const faces = Array.from({ length: 4 }, (_, i) => exampleFace(exampleCount - 1 - i));
    await choosePictures(await Promise.all(faces));
  };
  const chooseFiles = () => {
    const input = html("input", { type: "file", accept: "image/*", multiple: true });
    input.onchange = () => void app.during("reading pictures", () => choosePictures([...input.files ?? []]));
    input.click();
  };

  const onReport = ({ step, ms, losses, made }: StepReport) => {
    for (const [name, chart] of Object.entries(charts)) chart.add(losses[name as keyof typeof losses]);
    readout.textContent = `Step ${step}, ${(ms / 1000).toFixed(1)} s each`;
    if (made) drawRows(made);
    save.disabled = use.disabled = false;
  };
  const begin = async () => {
    const own = running = new AbortController();
    start.textContent = "Stop";
    try {
      if (!isBegun) {
        readout.textContent = "copying the model";
        const begun = await app.engine.ask("learnStart", { pictures, weights: weights() });
        if (own.signal.aborted) return;
        isBegun = true;
        before = begun.before;
        drawRows(before);
        readout.textContent = begun.isDiscriminatorKnown
          ? "the first step"
          : "the first step; the file has no discriminator, so a new one learns as well";
      }
      changed();
      await app.engine.ask("learn", null, { onReport, signal: own.signal });
    } catch (error) {
      if (!own.signal.aborted) app.fail(error);
    } finally {
      if (running === own) running = null;
      start.textContent = isBegun ? "Continue" : "Start";
    }
  };
  const stop = () => running?.abort();
  /** The file, which is offered as a download. */
  const made = async (): Promise<Blob> => {
    const saved = await app.engine.ask("learnSave", null);
    drawRows(saved.made);
    return saved.file;
  };
  const keep = async () => {
    const blob = await made();
    URL.revokeObjectURL(link.href);
    Object.assign(link, { href: URL.createObjectURL(blob), hidden: false });
    link.textContent = `${file} (${(blob.size / 1e6).toFixed(1)} MB)`;
    link.click();
  };
  const adopt = async () => {
    stop();
    const blob = await made();
    await app.openModel(file, new File([blob], file));
  };

  const noLpips = html(
    "p",
    { className: "hint" },
    "LPIPS only counts after you have added its weights. ",
    lpipsButton(app),
  );
  element.append(
    html(
      "div",
      { className: "bar" },
      start,
      save,
      use,
      link,
      button("Choose pictures", chooseFiles),
      button("Examples", () => void app.during("reading pictures", examples)),
      readout,
    ),
    html("div", { className: "sliders" }, ...Object.values(sliders).map(({ element }) => element)),
    noLpips,
    rows,
    html("div", { className: "charts" }, ...Object.values(charts).map(({ element }) => element)),
    html(
      "p",
      { className: "hint" },
      `The command line reads the file: tessera reconstruct --model ${file} face.jpg`,
    ),
  );
  app.lpips.watch((words) => {
    const trains = words !== "" && !words.includes("AlexNet");
    sliders.perceptual.isDisabled = !trains;
    charts.perceptual.element.hidden = !trains;
    noLpips.hidden = trains;
    if (isBegun) reset();
  });
  app.model.watch((model) => {
    if (!model) return;
    const again = sources.length > 0 ? choosePictures(sources) : examples();
    again.catch((error) => app.fail(error));
  });
}
