// The panels that look inside, in real browsers: the codebook, layers, the toy quantizer, and a training whose file the command
// line reads.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drawCartoonFace, savePng } from "../../data/index.ts";
import { tessera } from "../support/commands.ts";
import type { Tab } from "../support/devtools.ts";
import { browsers } from "./browsers.ts";
import { drop, isReady, removeSite, served, tokensIn } from "./play.ts";

setDefaultTimeout(240_000);

const folder = await mkdtemp(join(tmpdir(), "tessera-inside-"));
afterAll(async () => {
  removeSite();
  await rm(folder, { recursive: true, force: true });
});

/** Presses the button with a text. */
const click = (tab: Tab, panel: string, text: string) =>
  tab.evaluate(
    `[...document.querySelectorAll("#${panel} button")].find((each) => each.textContent === ${
      JSON.stringify(text)
    }).click()`,
  );
/** The tokens of a picture by the command line. */
async function tokensOf(picture: string, ...options: string[]): Promise<number[]> {
  const list = join(folder, "tokens.jsonl");
  expect((await tessera("encode", picture, "-o", list, "--force", ...options)).code).toBe(0);
  return (JSON.parse((await readFile(list, "utf8")).split("\n")[1]) as { encoding: number[] }).encoding;
}

/** Brings a panel into view, because panels out of view do not work. */
const look = (tab: Tab, panel: string) =>
  tab.evaluate(`document.querySelector("#${panel}").scrollIntoView({ behavior: "instant" })`);
const readout = (panel: string) => `document.querySelector("#${panel} .readout").textContent`;
const text = (tab: Tab, expression: string) => tab.evaluate<string>(expression);

async function codebook(tab: Tab): Promise<void> {
  await look(tab, "codebook");
  await tab.until(`document.querySelectorAll("#codebook .code").length === 7 + 7 + 14`);
  const current = `Number(/Code (\\d+)/.exec(${readout("codebook")})[1])`;
  const [first, second] = await tab.evaluate<number[]>(
    `[...document.querySelectorAll("#codebook .codes .code span")].slice(0, 2).map((each) => Number(each.textContent))`,
  );
  expect(await tab.evaluate<number>(current)).toBe(first);
  await tab.evaluate(`document.querySelectorAll("#codebook .code")[1].click()`);
  await tab.until(`${current} === ${second}`);
  await tab.evaluate(`document.querySelector("#codebook canvas").focus()`);
  await tab.press("ArrowRight");
  await tab.until(`${current} !== ${second}`);
}

async function layers(tab: Tab): Promise<void> {
  await look(tab, "layers");
  await tab.until(`document.querySelectorAll("#layers .layer").length === 14`);
  await tab.evaluate(`document.querySelector("#layers [data-path='decoder.mid']").click()`);
  const captions =
    `[...document.querySelectorAll("#layers .maps figcaption")].map((each) => each.textContent)`;
  expect((await tab.evaluate<string[]>(captions)).length).toBe(12);
  await tab.until(`document.querySelector("#layers .maps canvas").width === 16`); // it is drawn a little later
  const seen = await text(tab, readout("layers"));
  expect(seen).toMatch(
    /^The tile in row 9, column 9 takes half of what it gets from \d+ tiles?, most of all from row/,
  );
  await tab.evaluate(`document.querySelector("#layers .attention canvas").focus()`);
  await tab.press("ArrowLeft");
  await tab.until(`${readout("layers")}.startsWith("The tile in row 9, column 8 ")`);
  await look(tab, "judges");
  await tab.until(`document.querySelector("#judges").textContent.includes("patches of 34x34 pixels: mean ")`);
}

async function toy(tab: Tab): Promise<void> {
  await look(tab, "toy");
  await tab.until(`${readout("toy")}.startsWith("Step 0: ")`);
  const numbers = async () => {
    const [, used, all, off] = /(\d+) of (\d+) codes are in use; a colour is off by ([\d.]+) %/.exec(
      await text(tab, readout("toy")),
    )!;
    return { used: Number(used), all: Number(all), off: Number(off) };
  };
  const first = await numbers();
  await click(tab, "toy", "Run");
  for (const step of [10, 20, 30]) {
    await tab.until(`Number(/^Step (\\d+)/.exec(${readout("toy")})?.[1]) >= ${step}`);
  }
  await click(tab, "toy", "Pause");
  const learnt = await numbers();
  expect(learnt.off).toBeLessThan(first.off);
  expect(learnt.used).toBeLessThan(learnt.all);
  await click(tab, "toy", "Restart dead codes");
  await tab.until(`${readout("toy")}.includes("moved onto pixels")`);
  const restarted = await numbers();
  expect(restarted.used).toBeGreaterThan(learnt.used);
  expect(restarted.off).toBeLessThan(learnt.off);
}

/** Trains, saves, and goes on with the result in the page. @returns the saved file */
async function learn(tab: Tab): Promise<Uint8Array> {
  await look(tab, "learn");
  await tab.until(`document.querySelectorAll("#learn .row canvas").length === 4`);
  await click(tab, "learn", "Start");
  /** Waits for each step by itself, because a busy machine may need many seconds for one. */
  const steps = async (from: number, to: number) => {
    for (let step = from; step <= to; step++) {
      await tab.until(`Number(/^Step (\\d+)/.exec(${readout("learn")})?.[1]) >= ${step}`);
    }
  };
  await steps(1, 6);
  // the learning rate: a slider that is moved while it learns
  await tab.evaluate(`(() => {
    const slider = document.querySelectorAll("#learn input[type=range]")[4];
    slider.value = "-5";
    slider.dispatchEvent(new Event("input"));
  })()`);
  await steps(7, 12);
  await click(tab, "learn", "Stop");
  await tab.until(`document.querySelector("#learn button.main").textContent === "Continue"`);
  const quality = await tab.evaluate<number[]>(
    `[...document.querySelectorAll("#learn .row small")].flatMap((each) => Number(/PSNR ([\\d.]+)/.exec(each.textContent)?.[1]) || [])`,
  );
  expect(quality.length).toBe(2);
  expect(quality[1]).toBeGreaterThan(quality[0]);
  await click(tab, "learn", "Save as a file");
  await tab.until(`!document.querySelector("#learn a[download]").hidden`);
  const base64 = await text(
    tab,
    `fetch(document.querySelector("#learn a[download]").href).then((answer) => answer.blob()).then((blob) =>
      new Promise((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
        reader.readAsDataURL(blob);
      }))`,
  );
  await click(tab, "learn", "Use it in the page");
  await tab.until(
    `document.querySelector("#status").textContent.startsWith("fine-tuned.safetensors on")`,
  );
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

for (const { name, missing, withTab } of browsers) {
  describe(`inside the model in ${name}`, () => {
    if (missing !== null) {
      test.skip(`needs ${missing}`, () => {});
      return;
    }

    test("codes, layers and judges are shown, a toy learns, and the file of a training has the page's tokens", async () => {
      const picture = join(folder, "cartoon.png"), model = join(folder, "learnt.safetensors");
      await savePng(picture, { width: 128, height: 128, pixels: await drawCartoonFace(7, 128) });
      await served((address) =>
        withTab(address, async (tab) => {
          await tab.until(isReady);
          await codebook(tab);
          await layers(tab);
          await toy(tab);
          await drop(tab, "cartoon.png", "image/png", await readFile(picture));
          await writeFile(model, await learn(tab));
          const encoding = await tokensOf(picture, "--model", model);
          await tokensIn(tab, "face"); // opens the table, which may still show the tokens from before
          const shown =
            `[...document.querySelectorAll("#face tbody td")].map((cell) => cell.textContent).join()`;
          await tab.until(`${shown} === "${encoding.join()}"`);
          expect(encoding).not.toEqual(await tokensOf(picture)); // those of the model that has not learnt
          await tab.look(390, 844);
          expect(await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
          expect(tab.errors).toEqual([]);
        })
      );
    });
  });
}
