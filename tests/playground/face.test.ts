// The playground in real browsers: a picture that is dropped has the tokens of `tessera encode`, and a wrong file an error in words.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drawCartoonFace, savePng } from "../../data/index.ts";
import { tessera } from "../support/commands.ts";
import { browsers } from "./browsers.ts";
import { drop, isReady, removeSite, served, tokensIn } from "./play.ts";

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
      const picture = join(folder, "cartoon.png"), list = join(folder, "tokens.jsonl");
      await savePng(picture, { width: 128, height: 128, pixels: await drawCartoonFace(7, 128) });
      expect((await tessera("encode", picture, "-o", list)).code).toBe(0);
      const [, row] = (await readFile(list, "utf8")).split("\n"); // the first line says how they were made
      const { encoding } = JSON.parse(row) as { encoding: number[] };
      await served((address) =>
        withTab(address, async (tab) => {
          await tab.until(isReady);
          const before = await tokensIn(tab, "face");
          expect(before.length).toBe(256);
          await drop(tab, "cartoon.png", "image/png", await readFile(picture));
          await tab.until(`document.querySelector("#face tbody td").textContent === "${encoding[0]}"`);
          expect(await tokensIn(tab, "face")).toEqual(encoding);

          const problem = `document.querySelector("#problem-text").textContent`;
          await drop(tab, "holiday.png", "image/png", Uint8Array.of(1, 2, 3));
          await tab.until(`${problem} !== ""`);
          expect(await tab.evaluate(problem)).toContain(
            "cannot read the picture holiday.png: the browser cannot decode it",
          );
          await drop(tab, "model.safetensors", "", Uint8Array.of(1, 2, 3));
          await tab.until(`${problem}.includes("model.safetensors")`);
          expect(await tab.evaluate(problem)).toContain("neither a torch, a safetensors nor a Flax file");
          expect(await tokensIn(tab, "face")).toEqual(encoding);
          expect(tab.errors).toEqual([]);
        })
      );
    });
  });
}
