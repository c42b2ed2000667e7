// safetensors there and back, files that appear whole or not at all, and what shapes tell about a model.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeAtomic } from "../../../data/files/atomic.ts";
import {
  convertCheckpoint,
  formatInspectReport,
  guessConfig,
  inspect,
  isAutoencoder,
  memorySource,
  openCheckpoint,
  preset,
  readCheckpoint,
  type StoredValues,
  type TensorToWrite,
  writeSafetensors,
} from "../../../data/index.ts";

let folder = "";
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "tessera-formats-"))));
afterAll(() => rm(folder, { recursive: true }));

function entry(
  name: string,
  dtype: TensorToWrite["dtype"],
  shape: number[],
  data: StoredValues,
): TensorToWrite {
  return { name, dtype, shape, data: () => data };
}

describe("safetensors", () => {
  test("every type comes back, f16 and bf16 rounded to nearest even", async () => {
    const path = join(folder, "all.safetensors");
    const values = new Float32Array([1, -2.5, 0.1, 65519, 1e-8, Infinity, NaN, -0]);
    const tensors = [
      entry("half", "f16", [8], values),
      entry("brain", "bf16", [2, 4], values),
      entry("odd", "u8", [3], new Uint8Array([1, 2, 255])),
      entry("full", "f32", [8], values),
      entry("count", "i64", [], new BigInt64Array([-(2n ** 60n)])),
      entry("double", "f64", [1], new Float64Array([Math.PI])),
      entry("small", "i8", [2], new Int8Array([-1, 1])),
      entry("short", "i16", [1], new Int16Array([-300])),
      entry("int", "i32", [1], new Int32Array([-70000])),
      entry("flag", "bool", [2], new Uint8Array([0, 1])),
      entry("long", "u64", [1], new BigUint64Array([2n ** 64n - 1n])),
      entry("word", "u32", [1], new Uint32Array([2 ** 32 - 1])),
      entry("halfword", "u16", [1], new Uint16Array([2 ** 16 - 1])),
      entry("empty", "f32", [0, 3], new Float32Array(0)),
    ];
    await writeSafetensors(path, tensors, { config: '{"ch":32}', note: "é" });
    const file = await openCheckpoint(path);
    expect(file.format).toBe("safetensors");
    expect(file.metadata).toEqual({ config: '{"ch":32}', note: "é" });
    expect([...file.tensors.keys()]).toEqual(tensors.map(({ name }) => name));
    for (const { name, shape, dtype, data } of tensors) {
      const t = file.tensors.get(name)!;
      expect([t.dtype, t.shape]).toEqual([dtype, shape]);
      if (dtype !== "f16" && dtype !== "bf16") expect([...await t.read()]).toEqual([...await data()]);
    }
    const near = Math.fround;
    expect(Array.from(await file.tensors.get("half")!.read(), Number))
      .toEqual([1, -2.5, 0.0999755859375, 65504, 0, Infinity, NaN, -0]);
    expect(Array.from(await file.tensors.get("brain")!.read(), Number))
      .toEqual([1, -2.5, 0.10009765625, 65536, near(1.0011717677116394e-8), Infinity, NaN, -0]);
    await file.close();
  });

  test("floats of 8 bits are read, and widened where they are written", async () => {
    const header = {
      a: { dtype: "F8_E4M3", shape: [6], data_offsets: [0, 6] },
      b: { dtype: "F8_E5M2", shape: [4], data_offsets: [6, 10] },
    };
    const text = new TextEncoder().encode(JSON.stringify(header).padEnd(160));
    const codes = [0x38, 0x7e, 0x01, 0x88, 0x80, 0xff, 0x3c, 0x7b, 0xfc, 0x01];
    const bytes = Uint8Array.from([160, 0, 0, 0, 0, 0, 0, 0, ...text, ...codes]);
    const file = await readCheckpoint(memorySource("x", bytes));
    const wanted = [[1, 448, 2 ** -9, -(2 ** -6), -0, NaN], [1, 57344, -Infinity, 2 ** -16]];
    for (const [i, name] of ["a", "b"].entries()) {
      expect(Array.from(await file.tensors.get(name)!.read(), Number)).toEqual(wanted[i]);
    }
    const path = join(folder, "wide.safetensors");
    await convertCheckpoint(file, path, { config: null });
    const wide = await openCheckpoint(path);
    expect([wide.tensors.get("a")!.dtype, await wide.tensors.get("b")!.read()]).toEqual([
      "f32",
      Float32Array.from(wanted[1]),
    ]);
    await wide.close();
  });

  test("long tensors are written and read in pieces", async () => {
    const path = join(folder, "long.safetensors");
    const values = Float32Array.from({ length: 2 ** 21 + 5 }, (_, i) => i % 2048);
    await writeSafetensors(path, [entry("a", "f16", [values.length], values)]);
    const file = await openCheckpoint(path);
    const pieces: number[] = [];
    let wrong = 0;
    await file.tensors.get("a")!.readFloats((chunk, offset) => {
      pieces.push(offset, chunk.length);
      chunk.forEach((v, i) => wrong += Number(v !== values[offset + i]));
    });
    expect(pieces.length).toBe(18);
    expect(pieces.slice(-4)).toEqual([7 * 2 ** 18, 2 ** 18, 2 ** 21, 5]);
    expect(wrong).toBe(0);
    expect(file.byteLength % 8).toBe(2);
    await file.close();
  });

  test("what does not fit is refused, and the old file stays", async () => {
    const path = join(folder, "kept.safetensors");
    await writeSafetensors(path, [entry("a", "f32", [1], new Float32Array([7]))]);
    const before = await readFile(path);
    const attempts: [TensorToWrite[], string][] = [
      [[entry("a", "f32", [3], new Float32Array(2))], "tensor a has 2 values, its shape [3] needs 3"],
      [[entry("a", "i64", [2], new Float32Array(2))], "tensor a of type i64 needs a BigInt64Array"],
      [[1, 2].map(() => entry("a", "f32", [1], new Float32Array(1))), "two tensors are named a"],
    ];
    for (const [tensors, message] of attempts) {
      await expect(writeSafetensors(path, tensors)).rejects.toThrow(message);
    }
    expect(await readFile(path)).toEqual(before);
    expect((await readdir(folder)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  /** A file with this header and so many bytes of data. */
  const made = (header: unknown, length: number, claimed?: number) => {
    const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(BigInt(claimed ?? json.length));
    return Buffer.concat([prefix, json, Buffer.alloc(length)]);
  };
  const f32 = (shape: unknown, from: unknown, to: unknown) => ({
    dtype: "F32",
    shape,
    data_offsets: [from, to],
  });
  const hostile: [string, Uint8Array, string][] = [
    ["overlap", made({ a: f32([2], 0, 8), b: f32([1], 4, 8) }, 8), "starts at 4"],
    ["gap", made({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12), "starts at 8"],
    ["truncated", made({ a: f32([2], 0, 8) }, 5), "truncated safetensors file: its tensors need 8 bytes, 5"],
    ["too long", made({ a: f32([2], 0, 8) }, 9), "corrupt safetensors file: its tensors need 8 bytes, 9"],
    ["size", made({ a: f32([3], 0, 8) }, 8), "of shape [3] cannot lie at [0,8]"],
    ["absurd shape", made({ a: f32([2 ** 40, 2 ** 40], 0, 8) }, 8), "cannot lie at"],
    ["negative shape", made({ a: f32([-1, -2], 0, 8) }, 8), "no valid shape"],
    ["negative offset", made({ a: f32([2], -8, 0) }, 8), "cannot lie at"],
    ["no numbers", made({ a: f32(["2"], 0, 8) }, 8), "no valid shape"],
    ["no shape", made({ a: { dtype: "F32" } }, 8), "tensor a has no shape or offsets"],
    ["type", made({ a: { ...f32([1], 0, 4), dtype: "F8_E8M0" } }, 4), "has the type F8_E8M0"],
    ["not JSON", made("{]", 4), "its header is not JSON"],
    ["long header", made({ a: f32([1], 0, 4) }, 4, 90_000_000), "the header needs 90000000 bytes"],
    [
      "absurd header",
      made({ a: f32([1], 0, 4) }, 4, 2 ** 50),
      "neither a torch, a safetensors nor a Flax file",
    ],
  ];
  for (const [name, bytes, message] of hostile) {
    test(`hostile: ${name}`, async () => {
      await expect(readCheckpoint(memorySource("x", bytes))).rejects.toThrow(message);
    });
  }
});

describe("writeAtomic", () => {
  test("replaces a file, and keeps it if writing fails", async () => {
    const path = join(folder, "settings.json");
    await writeAtomic(path, (file) => file.writeFile("one"));
    await writeAtomic(path, async (file) => {
      await file.writeFile("two");
      expect(await readFile(path, "utf8")).toBe("one");
    });
    expect(await readFile(path, "utf8")).toBe("two");
    const fail = writeAtomic(path, async (file) => {
      await file.writeFile("half of thr");
      throw new Error("disk on fire");
    });
    await expect(fail).rejects.toThrow("disk on fire");
    expect(await readFile(path, "utf8")).toBe("two");
    expect((await readdir(folder)).filter((name) => name.includes("tmp"))).toEqual([]);
    await expect(writeAtomic(join(folder, "none", "a"), () => Promise.resolve())).rejects.toThrow("ENOENT");
  });

  test("two at once do not meet", async () => {
    const path = join(folder, "race.txt");
    const contents = ["a", "b", "c", "d"].map((c) => c.repeat(100_000));
    await Promise.all(contents.map((text) => writeAtomic(path, (file) => file.writeFile(text))));
    expect(contents).toContain(await readFile(path, "utf8"));
  });
});

describe("guessConfig", () => {
  const lines = readFileSync(new URL("../../fixtures/f16_16384_keys.tsv", import.meta.url), "utf8").trim()
    .split(
      "\n",
    );
  const full = new Map(lines.map((line) => {
    const [key = "", shape = ""] = line.split("\t");
    return [key, { shape: shape.split("x").filter((n) => /^\d+$/.test(n)).map(Number) }];
  }));
  const expected = {
    embedDim: 256,
    nEmbed: 16384,
    ddconfig: {
      zChannels: 256,
      resolution: 256,
      inChannels: 3,
      outCh: 3,
      ch: 128,
      chMult: [1, 1, 2, 2, 4],
      numResBlocks: 2,
      attnResolutions: [16],
      dropout: 0,
      doubleZ: false,
    },
    lossconfig: { discNumLayers: 2, discNdf: 64, perceptualNet: "vgg" },
  };
  const assumedLoss = [
    ...[
      "lossconfig.discStart",
      "lossconfig.discWeight",
      "lossconfig.discFactor",
      "lossconfig.codebookWeight",
    ],
    ...["lossconfig.perceptualWeight", "lossconfig.discLoss"],
  ];
  const assumedRest = ["beta", "legacyBeta", "attentionOrder"];

  test("the published model by its 392 shapes, with what is assumed of the rest", () => {
    expect(full.size).toBe(392);
    const { config, assumed } = guessConfig({ tensors: full });
    expect(config).toMatchObject(expected);
    expect(config).toEqual(preset("f16-16384"));
    expect(assumed).toEqual(["ddconfig.resolution", ...assumedLoss, ...assumedRest]);
  });

  test("a part that the file lacks is assumed too", () => {
    const bare = new Map([...full].filter(([key]) => isAutoencoder(key)));
    const { assumed } = guessConfig({ tensors: bare });
    for (const name of ["discNumLayers", "discNdf", "perceptualNet"]) {
      expect(assumed).toContain(`lossconfig.${name}`);
    }
  });

  test("what Tessera wrote beside the weights fills the gaps, as far as it can be used", () => {
    const faces = preset("faces"), config = JSON.stringify(faces);
    const guess = guessConfig({ tensors: full, metadata: { config } });
    expect(guess.assumed).toEqual([]);
    expect(guess.config).toMatchObject({
      beta: 0.25,
      legacyBeta: false,
      ddconfig: { resolution: 128, ch: 128 },
    });
    expect(guess.config.lossconfig).toEqual({ ...faces.lossconfig, ...expected.lossconfig });
    const damaged = JSON.stringify({
      beta: "much",
      resolution: -1,
      lossconfig: { discStart: null, discWeight: 2 },
    });
    const { assumed } = guessConfig({ tensors: full, metadata: { config: damaged } });
    expect(assumed).toEqual(
      ["ddconfig.resolution", ...assumedLoss, ...assumedRest].filter((name) =>
        name !== "lossconfig.discWeight"
      ),
    );
    expect(guessConfig({ tensors: full, metadata: { config: "{" } }).assumed.length).toBe(10);
  });

  test("hyper-parameters add what shapes do not tell, and do not overrule them", () => {
    const root = new Map([[
      "hyper_parameters",
      new Map<string, unknown>([
        ["n_embed", 1],
        ["ddconfig", new Map<string, unknown>([["resolution", 128], ["ch", 7]])],
        [
          "lossconfig",
          new Map([[
            "params",
            new Map<string, unknown>([
              ["disc_start", 250001],
              ["disc_loss", "vanilla"],
              ["disc_num_layers", 9],
            ]),
          ]]),
        ],
      ]),
    ]]);
    const { config, assumed } = guessConfig({ tensors: full, root });
    expect(config).toMatchObject({
      ...expected,
      ddconfig: { ...expected.ddconfig, resolution: 128, attnResolutions: [8] },
      lossconfig: { ...expected.lossconfig, discStart: 250001, discLoss: "vanilla" },
    });
    const told = ["lossconfig.discStart", "lossconfig.discLoss"];
    expect(assumed).toEqual([...assumedLoss.filter((name) => !told.includes(name)), ...assumedRest]);
  });

  test("something else is told by the tensor that it lacks", () => {
    expect(() => guessConfig({ tensors: new Map() })).toThrow("there is no tensor encoder.conv_in.weight");
    const { "quantize.embedding.weight": _, ...rest } = Object.fromEntries(full);
    expect(() => guessConfig({ tensors: new Map(Object.entries(rest)) })).toThrow(
      "no tensor quantize.embedding.weight",
    );
  });

  test("inspect warns of what fine-tuning will miss", async () => {
    const path = join(folder, "bare.safetensors");
    const tiny = [...full].filter(([key]) => !key.startsWith("loss.")).map(([name, { shape }]) => {
      // the dimensions in between do not matter here
      const small = shape.map((n, axis) => axis > 1 ? 1 : Math.ceil(n / 32));
      return entry(name, "f32", small, new Float32Array(small.reduce((a, n) => a * n, 1)));
    });
    await writeSafetensors(path, tiny, { state: '{"step":12,"epoch":3}' });
    const report = await inspect(path);
    expect([report.globalStep, report.epoch, report.architecture?.factor]).toEqual([12, 3, 16]);
    expect(report.warnings.map((w) => w.split(":")[0])).toEqual([
      "no discriminator inside",
      "no perceptual network inside",
    ]);
    const text = formatInspectReport(report);
    expect(text).toContain("architecture: VQGAN f16, 512 codes of 8");
    expect(text).toContain("  discriminator: none; perceptual network: none");
    expect(text).toMatch(
      / {2}assumed, since the file does not say: ddconfig\.resolution 256, .*legacyBeta true/,
    );
    await writeFile(path, "<html>");
    await expect(inspect(path)).rejects.toThrow("web page");
  });
});
