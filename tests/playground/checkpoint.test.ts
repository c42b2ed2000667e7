// Other models in the playground: dropped as torch, safetensors and Flax files, and downloaded from a hub, with the tokens that
// the command line has; and files that are no models.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { preset } from "../../data/formats/config.ts";
import { drawCartoonFace, savePng } from "../../data/index.ts";
import { VQGAN } from "../../nn/index.ts";
import { Random } from "../../src/index.ts";
import { saveWeights } from "../../train/index.ts";
import { tessera } from "../support/commands.ts";
import { HubServer } from "../support/hub_server.ts";
import { browsers } from "./browsers.ts";
import { drop, encodedBy, isReady, removeSite, served, tokensIn, untilTokens } from "./play.ts";

setDefaultTimeout(120_000);

const folder = await mkdtemp(join(tmpdir(), "tessera-play-"));
const model = join(folder, "tiny.safetensors");
/** The same model in three formats. It is shaped like the published one, whose sizes are assumed for a Flax file alone. */
const files = [model, join(folder, "tiny.ckpt"), join(folder, "flax", "flax_model.msgpack")];
const picture = join(folder, "face.png"), side = 256;
const hub = await HubServer.open();

beforeAll(async () => {
  const ddconfig = {
    ch: 32,
    chMult: [1, 1, 1, 1, 1],
    resolution: side,
    attnResolutions: [16],
    zChannels: 32,
    numResBlocks: 1,
  };
  const weights = new VQGAN(preset("f16-16384", { embedDim: 8, nEmbed: 64, ddconfig }), new Random(1));
  await saveWeights(model, weights);
  weights.dispose();
  await savePng(picture, { width: side, height: side, pixels: await drawCartoonFace(3, side) });
  for (const to of [files[1], join(folder, "flax")]) {
    expect((await tessera("convert", model, to)).code).toBe(0);
  }
  hub.add("someone/tiny", { "README.md": "a model", "vqgan/tiny.ckpt": await readFile(files[1]) });
});
afterAll(async () => {
  removeSite();
  await hub.close();
  await rm(folder, { recursive: true, force: true });
});

const facts = `document.querySelector("#checkpoint .facts").innerText`;
const problem = `document.querySelector("#problem-text").textContent`;
for (const { name, missing, withTab } of browsers) {
  describe(`other models in ${name}`, () => {
    if (missing !== null) {
      test.skip(`needs ${missing}`, () => {});
      return;
    }

    test("dropped files of three formats, and one that is no model", async () => {
      const wanted = await encodedBy(folder, "--model", model, picture);
      await served((address) =>
        withTab(address, async (tab) => {
          await tab.until(isReady);
          for (const file of files) {
            await drop(tab, basename(file), "", await readFile(file));
            await tab.until(`${facts}.includes("${basename(file)}")`);
            await drop(tab, "face.png", "image/png", await readFile(picture));
            await untilTokens(tab, "face", wanted);
          }
          await drop(tab, "vgg.pth", "", await readFile(picture));
          await tab.until(`${problem}.includes("vgg.pth: this is neither a torch")`);
          expect(await tab.evaluate(facts)).toContain("flax_model.msgpack"); // the model that was there stays
          expect(await tokensIn(tab, "face")).toEqual(wanted);
          expect(tab.errors).toEqual([]);
        })
      );
    });

    test("a name on the hub is downloaded once, and errors say what to do", async () => {
      await served((address) =>
        withTab(`${address}?hub=${hub.url}`, async (tab) => {
          await tab.until(isReady);
          const open = (name: string) =>
            tab.evaluate(`(() => {
              document.querySelector("#hub-name").value = ${JSON.stringify(name)};
              document.querySelector("#checkpoint form").requestSubmit();
            })()`);
          await open("hf:someone/tiny");
          await tab.until(`${facts}.includes("hf:someone/tiny (vqgan/tiny.ckpt)")`);
          const downloads = hub.downloads.length;
          await drop(tab, "tiny.safetensors", "", await readFile(model));
          await tab.until(`${facts}.includes("tiny.safetensors")`);
          await open("someone/tiny");
          await tab.until(`${facts}.includes("hf:someone/tiny (vqgan/tiny.ckpt)")`);
          expect(hub.downloads.length).toBe(downloads);

          await open("hf:someone/else");
          await tab.until(
            `${problem}.includes("there is no repository someone/else, or it is private; check the name")`,
          );
          await open("hf:nonsense");
          await tab.until(`${problem}.includes("this names no repository")`);
          await open("http://127.0.0.1:9/model.ckpt");
          await tab.until(`${problem}.includes("127.0.0.1:9 cannot be reached")`);
        })
      );
    });
  });
}
