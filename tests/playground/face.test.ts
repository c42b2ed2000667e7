// The playground in real browsers: a picture that is dropped has the tokens of `tessera encode`, and a wrong file an error in
// words.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drawCartoonFace, savePng } from "../../data/index.ts";
import { browsers } from "./browsers.ts";
import { drop, encodedBy, isReady, removeSite, served, tokensIn, tokenText, untilTokens } from "./play.ts";

setDefaultTimeout(120_000);

const folder = await mkdtemp(join(tmpdir(), "tessera-play-"));
afterAll(async () => {
  removeSite();
  await rm(folder, { recursive: true, force: true });
});

for (const { name, missing, withTab } of browsers) {
  describe(`the playground in ${name}`, () => {
    if (missing !== null) {
      test.skip(`needs ${missing}`, () => {});
      return;
    }

    test("a dropped picture has the command line's tokens, and wrong files say what they are", async () => {
      const picture = join(folder, "cartoon.png");
      await savePng(picture, { width: 128, height: 128, pixels: await drawCartoonFace(7, 128) });
      const wanted = await encodedBy(folder, picture);
      await served((address) =>
        withTab(address, async (tab) => {
          await tab.until(isReady);
          const before = await tokensIn(tab, "face");
          expect(before.length).toBe(256);
          await drop(tab, "cartoon.png", "image/png", await readFile(picture));
          await untilTokens(tab, "face", wanted);

          const problem = `document.querySelector("#problem-text").textContent`;
          await drop(tab, "holiday.png", "image/png", Uint8Array.of(1, 2, 3));
          await tab.until(`${problem} !== ""`);
          expect(await tab.evaluate(problem)).toContain(
            "cannot read the picture holiday.png: the browser cannot decode it",
          );
          await drop(tab, "model.safetensors", "", Uint8Array.of(1, 2, 3));
          await tab.until(`${problem}.includes("model.safetensors")`);
          expect(await tab.evaluate(problem)).toContain("neither a torch, a safetensors nor a Flax file");
          expect(await tokensIn(tab, "face")).toEqual(wanted);
          expect(tab.errors).toEqual([]);
        })
      );
    });

    test("a drawing by mouse and by keys, and the camera, become tokens while they change", async () => {
      await served((address) =>
        withTab(address, async (tab) => {
          await tab.look(1200, 1000);
          await tab.until(isReady);
          const press = (button: string) =>
            tab.evaluate(`[...document.querySelectorAll("#face button")]
              .find((each) => each.textContent === "${button}").click()`);
          const others = (tokens: readonly number[]) => `${tokenText("face")} !== "${tokens}"`;

          const before = await tokensIn(tab, "face");
          await press("Draw");
          const { x, y, width } = await tab.evaluate<{ x: number; y: number; width: number }>(
            `(({ x, y, width }) => ({ x, y, width }))(document.querySelector(".sheet canvas").getBoundingClientRect())`,
          );
          await tab.mouse("move", x + width / 4, y + width / 4);
          await tab.mouse("down", x + width / 4, y + width / 4);
          await tab.mouse("move", x + width * 3 / 4, y + width / 4);
          await tab.mouse("up", x + width * 3 / 4, y + width / 4);
          await tab.until(others(before));
          const drawn = await tokensIn(tab, "face");
          await tab.evaluate(`document.querySelector(".sheet canvas").focus()`);
          for (const key of ["ArrowDown", " ", ..."ArrowDown ".repeat(8).trim().split(" "), " "]) {
            await tab.press(key);
          }
          await tab.until(others(drawn));

          // a camera that shows a moving bar; without a rate, WebKit would send a single frame
          await tab.evaluate(`(() => {
            const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
            let at = 0;
            setInterval(() => {
              pen.fillStyle = "#aaa"; pen.fillRect(0, 0, 300, 150);
              pen.fillStyle = "#c33"; pen.fillRect(at = (at + 9) % 300, 0, 40, 150);
            }, 50);
            navigator.mediaDevices.getUserMedia = () => Promise.resolve(canvas.captureStream(20));
          })()`);
          await press("Camera");
          for (let frame = 0; frame < 3; frame++) await tab.until(others(await tokensIn(tab, "face")));
          expect(await tab.evaluate(`document.querySelector(".drawing").hidden`)).toBe(true);
          await press("Camera");
          await tab.evaluate(
            `navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotFoundError"))`,
          );
          await press("Camera");
          await tab.until(
            `document.querySelector("#problem-text").textContent === "no picture from the camera: there is none"`,
          );
          expect(tab.errors).toEqual([]);
        })
      );
    });
  });
}
