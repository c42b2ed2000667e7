// A quantizer of colours that can be watched: codes move to the colours that chose them, die, and are restarted.
/// <reference lib="dom" />
import type { Picture } from "../../core.ts";
import type { App } from "../app.ts";
import { css, pen, pictureCanvas, showPicture } from "../page/canvas.ts";
import { button, choice, html } from "../page/dom.ts";
import { watchSeen } from "../page/seen.ts";
import { Slider } from "../page/slider.ts";
import type { Panel } from "../panel.ts";
import { chromaOf, recolored, rgbOf } from "../toy/chroma.ts";
import type { ToyState } from "../toy/toy_quantizer.ts";

export const toyPanel: Panel = {
  id: "toy",
  title: "Watch codes live and die",
  sees:
    "Each small dot is the colour of a pixel, and each circle is a code, which stands for the colours nearest " +
    "to it and moves towards their mean as it learns. " +
    "A code that is nearest to no pixel (a cross) does not learn, and is dead until it is restarted on a pixel.",
  chapter: "5-codebook",
  mount,
};

/** The side of the picture whose pixels are quantized. */
const size = 64;
/** Milliseconds between two steps, slow enough to follow. */
const pace = 60;
/** A code's last places that are drawn. */
const trail = 24;
/** How far from grey the codes begin. */
const spreads = { together: 0.08, apart: 0.3 } as const;

function mount(element: HTMLElement, app: App): void {
  let state: ToyState | null = null, isRunning = false, seed = 1, spread: keyof typeof spreads = "together";
  let picture: Picture | null = null,
    chroma = chromaOf(new Uint8Array(0)),
    trails: Float32Array[] = [],
    moved: readonly number[] = [];
  let frame = frameOf(chroma.colors, 0);
  const plane = html("canvas", { className: "map", role: "img", "aria-label": "The plane of colours" });
  const copy = pictureCanvas("the picture in the colours of the codes"),
    original = pictureCanvas("the picture");
  const readout = html("p", { className: "readout", "aria-live": "polite" });
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

  const count = new Slider("Codes", { min: 2, max: 32, step: 1, value: 12 }, () => begin());
  const rate = new Slider("Learning rate", {
    min: 0.002,
    max: 0.05,
    step: 0.002,
    value: 0.01,
    text: (value) => value.toFixed(3),
  }, () => {});
  const run = button("Run", () => isRunning ? pause() : void go(), { className: "main" });

  const pause = () => {
    isRunning = false;
    run.textContent = "Run";
  };
  const take = (next: ToyState) => {
    if (state && next.codes.length === state.codes.length) trails = [...trails, state.codes].slice(-trail);
    else trails = [];
    state = next;
    draw();
  };
  const working = (work: () => Promise<void>) =>
    work().catch((error) => {
      pause();
      app.fail(error);
    });
  const step = (steps: number) =>
    working(async () => take(await app.engine.ask("toySteps", { steps, lr: rate.value })));
  const go = async () => {
    if (isCalm.matches) return await step(20); // one change instead of a motion
    isRunning = true;
    run.textContent = "Pause";
    while (isRunning) {
      await step(1);
      await new Promise((resolve) => setTimeout(resolve, pace));
    }
  };
  const restart = () =>
    working(async () => {
      const answer = await app.engine.ask("toyRestart", null);
      trails = [];
      state = null;
      moved = answer.moved;
      take(answer.state);
      readout.textContent = `${
        answer.moved.length === 0 ? "No code was dead" : `${answer.moved.length} dead codes moved onto pixels`
      }. ${words()}`;
    });
  const begin = () =>
    working(async () => {
      if (!picture) return;
      moved = [];
      state = null;
      frame = frameOf(chroma.colors, spreads[spread]);
      take(await app.engine.ask("toyStart", { picture, codes: count.value, spread: spreads[spread], seed }));
    });

  const used = () => new Set(state?.tokens);
  const words = () => {
    const { step, loss, codes } = state!;
    // the colours differ by the root of the sum over x and y
    return `Step ${step}: ${used().size} of ${codes.length / 2} codes are in use; a colour is off by ${
      (100 * Math.sqrt(2 * loss)).toFixed(1)
    } % on average.`;
  };
  /** The colours of the pixels, which are drawn once for each size. */
  let drawn:
    | { readonly of: typeof chroma; readonly frame: Frame; readonly canvas: HTMLCanvasElement }
    | null = null;
  const dots = (side: number, x: (value: number) => number, y: (value: number) => number) => {
    if (drawn?.of === chroma && drawn.frame === frame && drawn.canvas.width === side) return drawn.canvas;
    const canvas = html("canvas", { width: side, height: side }),
      g = pen(canvas),
      { colors, brightness } = chroma;
    const edge = 2.5 * devicePixelRatio;
    for (let i = 0; i < brightness.length; i++) {
      g.fillStyle = css(rgbOf(0.35 + 0.3 * brightness[i], colors[2 * i], colors[2 * i + 1]));
      g.fillRect(x(colors[2 * i]) - edge / 2, y(colors[2 * i + 1]) - edge / 2, edge, edge);
    }
    drawn = { of: chroma, frame, canvas };
    return canvas;
  };
  const draw = () => {
    const side = Math.round(plane.clientWidth * devicePixelRatio);
    if (!state || side === 0) return;
    const { codes, tokens } = state, alive = used(), scale = devicePixelRatio;
    Object.assign(plane, { width: side, height: side });
    const g = pen(plane), style = getComputedStyle(plane), ink = style.getPropertyValue("--ink");
    const { left, top, width } = frame;
    const x = (value: number) => (value - left) / width * side;
    const y = (value: number) => (top - value) / width * side;
    const dot = (values: Float32Array, i: number, radius: number) => {
      g.beginPath();
      g.arc(x(values[2 * i]), y(values[2 * i + 1]), radius * scale, 0, 7);
    };
    g.strokeStyle = style.getPropertyValue("--line");
    g.strokeRect(0, y(0), side, 0);
    g.strokeRect(x(0), 0, 0, side);
    g.drawImage(dots(side, x, y), 0, 0);
    g.lineWidth = 1.5 * scale;
    g.strokeStyle = ink;
    for (let code = 0; 2 * code < codes.length; code++) {
      g.globalAlpha = 0.45;
      g.beginPath();
      for (const places of [...trails, codes]) g.lineTo(x(places[2 * code]), y(places[2 * code + 1]));
      g.stroke();
      g.globalAlpha = 1;
      if (alive.has(code)) {
        dot(codes, code, 8);
        g.fillStyle = css(rgbOf(0.5, codes[2 * code], codes[2 * code + 1]));
        g.fill();
        g.stroke();
        if (!moved.includes(code)) continue;
        dot(codes, code, 12); // it was restarted
        g.stroke();
      } else {
        const [at, down, arm] = [x(codes[2 * code]), y(codes[2 * code + 1]), 5 * scale];
        g.strokeStyle = style.getPropertyValue("--bad");
        for (const turn of [1, -1]) {
          g.beginPath();
          g.moveTo(at - arm, down - turn * arm);
          g.lineTo(at + arm, down + turn * arm);
          g.stroke();
        }
        g.strokeStyle = ink;
      }
    }
    showPicture(copy, { width: size, height: size, pixels: recolored(chroma.brightness, tokens, codes) });
    if (!isRunning || state.step % 10 === 0) readout.textContent = words();
    plane.setAttribute(
      "aria-label",
      `The plane of colours, bluer to the right and redder upwards. ${words()}`,
    );
  };
  new ResizeObserver(draw).observe(plane);

  element.append(
    html(
      "div",
      { className: "bar" },
      run,
      button("One step", () => void step(1)),
      button("Restart dead codes", () => void restart()),
      button("Begin again", () => {
        seed++;
        void begin();
      }),
      choice<keyof typeof spreads>(
        "Codes begin",
        { together: "together", apart: "apart" },
        spread,
        (value) => {
          spread = value;
          void begin();
        },
      ),
    ),
    html("div", { className: "sliders" }, count.element, rate.element),
    html(
      "div",
      { className: "beside" },
      html(
        "figure",
        {},
        plane,
        html(
          "figcaption",
          {},
          "the plane of colours: grey where the lines cross, bluer to the right, redder upwards",
        ),
      ),
      html(
        "div",
        {},
        html(
          "div",
          { className: "two" },
          html("figure", {}, original, html("figcaption", {}, "the picture, 64x64 pixels")),
          html(
            "figure",
            {},
            copy,
            html("figcaption", {}, "the same in the colours of the codes; its brightness is not quantized"),
          ),
        ),
        readout,
      ),
    ),
  );
  watchSeen(element, [app.face], () =>
    void working(async () => {
      const face = app.face.value;
      if (!face) return;
      picture = await app.engine.ask("picture", { source: face.picture, size });
      chroma = chromaOf(picture.pixels);
      showPicture(original, picture);
      await begin();
    }));
}

/** A square of the plane. */
interface Frame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
}

/** The square that holds all colours, grey, and the codes where they begin. */
function frameOf(colors: Float32Array, spread: number): Frame {
  const mean = [0, 0], least = [0, 0], most = [0, 0];
  colors.forEach((value, i) => mean[i % 2] += value * 2 / colors.length);
  const hold = (value: number, axis: number) => {
    least[axis] = Math.min(least[axis], value);
    most[axis] = Math.max(most[axis], value);
  };
  colors.forEach((value, i) => hold(value, i % 2));
  mean.forEach((value, axis) => [-spread, spread].forEach((far) => hold(far - value, axis)));
  const width = 1.12 * Math.max(most[0] - least[0], most[1] - least[1], 0.1);
  return { left: (least[0] + most[0] - width) / 2, top: (least[1] + most[1] + width) / 2, width };
}
