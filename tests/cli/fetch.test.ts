// Checkpoints by their names at the prompt: every command that takes one, and processes that are stopped, killed or start at
// once.
import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import process from "node:process";
import { beginRun, defaultOptions } from "../../train/index.ts";
import { commandFixture, ended, start, tessera } from "../support/commands.ts";
import { checkpointBytes, hubFixture } from "../support/hub.ts";

setDefaultTimeout(120_000);

const { server, home, reset, files, ranges, close } = await hubFixture();
const { folder, faces, model } = await commandFixture();
afterAll(async () => {
  await close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  await reset();
  delete process.env.XDG_CACHE_HOME; // Deno keeps compiled modules there
});

const tiny = new Uint8Array(await readFile(model)), large = await checkpointBytes("large", 1_000_000);
server.add("o/tiny", { "README.md": "# tiny", "config.json": "{}", "tiny.safetensors": tiny });
const { commit } = server.add("o/large", { "large.safetensors": large });

describe("a name instead of a path", () => {
  test("works in every command that takes a checkpoint, and says which file it means", async () => {
    const tokens = join(folder, "tokens.jsonl"), flags = ["--model", "hf:o/tiny"];
    const inspected = await tessera("inspect", "hf:o/tiny");
    expect([inspected.code, inspected.out]).toEqual([0, expect.stringContaining("VQGAN f2, 16 codes of 32")]);
    expect(inspected.err).toMatch(
      /^hf:o\/tiny is tiny\.safetensors of commit [0-9a-f]{7}, \d+\.\d MB to download\n$/,
    );
    for (
      const words of [
        ["encode", ...flags, "-o", tokens, faces],
        ["decode", ...flags, "-o", join(folder, "decoded"), tokens],
        ["reconstruct", ...flags, "-o", join(folder, "side"), join(faces, "face_00000.png")],
        ["convert", "hf:o/tiny/tiny.safetensors", join(folder, "tiny.ckpt")],
        ["inspect", `${server.url}/o/tiny/resolve/main/tiny.safetensors`],
        [
          ...[
            "finetune",
            "--from",
            "hf:o/tiny",
            "--data",
            faces,
            "--steps",
            "1",
            "--batch",
            "1",
            "--no-lpips",
          ],
          ...["--out", join(folder, "runs")],
        ],
      ]
    ) {
      const { code, err } = await tessera(...words);
      expect([words[0], code, err]).toEqual([
        words[0],
        0,
        expect.stringMatching(/^\S+ is tiny.*, in the cache\n/),
      ]);
    }
    expect(ranges()).toEqual([null]);
    // a Flax model comes with its config.json
    const flax = join(folder, "flax");
    await tessera("convert", model, flax);
    const both = ["config.json", "flax_model.msgpack"].map((name) => [name, readFileSync(join(flax, name))]);
    server.add("o/flax", Object.fromEntries(both));
    const { out, err: said } = await tessera("inspect", "--json", "hf:o/flax");
    expect(said).toContain("hf:o/flax is flax_model.msgpack of commit");
    expect(JSON.parse(out).architecture).toEqual(
      JSON.parse((await tessera("inspect", "--json", flax)).out).architecture,
    );
    expect((await files()).filter((path) => path.includes("o--flax/snapshots")).map((path) => basename(path)))
      .toEqual([
        "config.json",
        "flax_model.msgpack",
      ]);
    const [header] = (await readFile(tokens, "utf8")).split("\n", 1);
    expect(JSON.parse(header).model).toBe("tiny.safetensors");
    // a script names it in the same way
    const begun = await beginRun({
      start: { from: "hf:o/tiny" },
      perceptual: "none",
      options: { ...defaultOptions, data: [faces], size: 16, lr: 1e-3, name: "script" },
      out: join(folder, "scripts"),
    });
    expect([begun.settings.from, begun.trainer.model.config.nEmbed]).toEqual(["hf:o/tiny", 16]);
    begun.trainer.dispose();
    begun.trainer.model.dispose();
    // a run is resumed in its folder, and not in the cache
    const [run] = await readdir(join(folder, "runs"));
    const last = await readFile(join(folder, "runs", run, "checkpoints/last.safetensors"));
    server.add("o/run", { "last.safetensors": new Uint8Array(last) });
    const { code, err } = await tessera("finetune", "--resume", "hf:o/run");
    expect([code, err]).toEqual([
      2,
      expect.stringContaining("a run of Tessera is resumed in its folder: copy "),
    ]);
  });

  test("without hf: is a path, and the error says what else it may be", async () => {
    const { code, err } = await tessera("inspect", "boris/vqgan_f16_16384");
    expect([code, err]).toEqual([
      1,
      "tessera: boris/vqgan_f16_16384: there is no such file; check the path, or write hf:boris/vqgan_f16_16384 for a " +
      "repository of the Hugging Face hub\n",
    ]);
    expect((await tessera("inspect", "models/last.ckpt")).err).toMatch(
      /there is no such file; check the path\n$/,
    );
  });

  test("is not fetched if other options are wrong", async () => {
    const { code, err } = await tessera("finetune", "--from", "hf:o/large");
    expect([code, err]).toEqual([2, expect.stringContaining("--data is missing")]);
    expect(server.log).toEqual([]);
  });

  test("that cannot be fetched ends in one line and exit code 1", async () => {
    for (
      const [name, line] of [
        [
          "hf:o/none",
          /^tessera: hf:o\/none: .+ has no repository o\/none, or it is private; check the name, or set HF_TOKEN\n$/,
        ],
        ["hf:o", /^tessera: hf:o: this names no repository; write hf:owner\/name, .+\n$/],
        [
          `${server.url}/x/y/z.ckpt`,
          /^tessera: http:.+\/z\.ckpt: the server wants a login or refuses access \(401\); .+\n$/,
        ],
      ] as const
    ) {
      for (
        const words of [["inspect", name], ["encode", "--model", name, faces], [
          "finetune",
          "--from",
          name,
          "--data",
          faces,
        ]]
      ) {
        expect(await tessera(...words)).toEqual({ code: 1, out: "", err: expect.stringMatching(line) });
      }
    }
  });
});

describe("processes", () => {
  const begun = async (part = 200_000) => {
    for (;;) {
      const [path] = await files("incomplete");
      if (path && (await stat(join(home, path)).catch(() => null))?.size as number > part) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };

  test("that are interrupted or killed leave their part to the next, which goes on", async () => {
    server.fault = ({ isStore }) => isStore ? { slow: 40 } : null;
    const interrupted = start("inspect", "hf:o/large"), answer = ended(interrupted);
    await begun();
    interrupted.kill("SIGINT");
    const { code, err } = await answer;
    expect([code, err]).toEqual([
      130,
      expect.stringMatching(/tessera: stopped; the same command goes on from \d MB\n$/),
    ]);
    expect((await files()).filter((path) => path.includes("lock"))).toEqual([]);

    const killed = start("inspect", "hf:o/large"), end = ended(killed);
    await begun(800_000);
    killed.kill("SIGKILL");
    await end;
    server.fault = () => null;
    const last = await ended(start("inspect", "hf:o/large"));
    expect([last.code, last.out]).toEqual([0, expect.stringContaining("safetensors, 4.0 MB")]);
    expect(ranges()).toEqual([
      null,
      expect.stringMatching(/^bytes=\d{6}-$/),
      expect.stringMatching(/^bytes=\d{6,7}-$/),
    ]);
    expect(await files()).toEqual((await files()).filter((path) => !/lock|incomplete/.test(path)));
  });

  test("that start at once download a file once", async () => {
    server.fault = ({ isStore }) => isStore ? { slow: 40 } : null;
    const answers = await Promise.all(["a", "b", "c"].map(() => ended(start("inspect", "hf:o/large"))));
    for (const { code, out } of answers) expect([code, out]).toEqual([0, expect.stringContaining(commit)]);
    expect(ranges()).toEqual([null]);
    expect(
      new Uint8Array(
        await readFile(join(home, `hub/models--o--large/snapshots/${commit}/large.safetensors`)),
      ),
    ).toEqual(large);
  });
});
