// Reading torch files: the small fixtures written by torch itself and, if ../shared has them, real files of many
// versions.
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { deflateSync } from "fflate";
import {
  flattenTensors,
  formatInspectReport,
  inspect,
  isPickleClass,
  memorySource,
  PickleObject,
  readCheckpoint,
  type StoredTensor,
  unwrapOmegaconf,
} from "../../../../data/index.ts";
import { withFile } from "../../../support/with_file.ts";
import {
  Call,
  floatBytes,
  Global,
  pickle,
  type Pickled,
  Raw,
  tensorCall,
  torchZip,
  zip,
} from "../../../support/torchfile.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const fixture = (name: string) => join(here, "../../../fixtures", name);

async function numbers(t: StoredTensor | undefined): Promise<number[]> {
  return Array.from(await t!.read(), Number);
}

function at(value: unknown, ...path: (string | number)[]): unknown {
  return path.reduce<unknown>(
    (v, key) => v instanceof Map ? v.get(key) : Array.isArray(v) ? v[Number(key)] : undefined,
    value,
  );
}

interface Expected {
  state_dict: Record<string, { shape: number[]; dtype: string; first4: number[]; sum: number }>;
  adam: Record<string, { step: number; exp_avg_first3: number[]; exp_avg_sq_first3: number[] }>;
}

describe("small files by torch", () => {
  const expected: Expected = JSON.parse(readFileSync(fixture("micro_expected.json"), "utf8"));
  const files = ["micro_misc", "micro_pl108", "micro_pl140_omegaconf"];
  for (const name of files.flatMap((file) => [`${file}_zip.ckpt`, `${file}_legacy.ckpt`])) {
    test(`${name} has the expected tensors`, () =>
      withFile(fixture(name), async (file) => {
        expect(file.format).toBe(name.includes("zip") ? "torch-zip" : "torch-legacy");
        expect([...file.tensors.keys()]).toEqual(Object.keys(expected.state_dict));
        // the misc file holds the same numbers in f16
        const tolerance = name.includes("misc") ? 2 ** -10 : 0;
        for (const [key, { shape, first4, sum }] of Object.entries(expected.state_dict)) {
          const t = file.tensors.get(key)!;
          const values = await numbers(t);
          expect([key, ...t.shape]).toEqual([key, ...shape]);
          first4.forEach((v, i) =>
            expect(Math.abs(values[i]! - v)).toBeLessThanOrEqual(tolerance * Math.abs(v))
          );
          const size = values.reduce((a, v) => a + Math.abs(v), 0);
          expect(Math.abs(values.reduce((a, v) => a + v, 0) - sum)).toBeLessThanOrEqual(
            (tolerance || 1e-12) * size,
          );
        }
      }));
  }

  for (const name of ["micro_pl108_zip.ckpt", "micro_pl140_omegaconf_legacy.ckpt"]) {
    test(`${name}: Adam's moments, and a callback keyed by its class`, () =>
      withFile(fixture(name), async ({ root }) => {
        for (const [i, adam] of Object.entries(expected.adam)) {
          const state = at(root, "optimizer_states", 0, "state", Number(i));
          expect(at(state, "step")).toBe(adam.step);
          const moments = [at(state, "exp_avg"), at(state, "exp_avg_sq")] as StoredTensor[];
          expect((await numbers(moments[0])).slice(0, 3)).toEqual(adam.exp_avg_first3);
          expect((await numbers(moments[1])).slice(0, 3)).toEqual(adam.exp_avg_sq_first3);
        }
        const callbacks = at(root, "callbacks");
        const key = callbacks instanceof Map ? [...callbacks.keys()][0] : null;
        expect(isPickleClass(key) && key.classPath)
          .toBe("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint");
      }));
  }

  for (const kind of ["zip", "legacy"]) {
    test(`every type and layout of tensor (${kind})`, () =>
      withFile(fixture(`micro_misc_${kind}.ckpt`), async ({ root }) => {
        const stored = (key: string) => at(root, key) as StoredTensor;
        const read = async (key: string) => [stored(key).dtype, await stored(key).read()];
        expect(await read("extra_bf16")).toEqual(["bf16", new Float32Array([0, 1, 2, 3, 4])]);
        expect(await read("f64")).toEqual(["f64", new Float64Array([0, 1, 2])]);
        expect(await read("i32")).toEqual(["i32", new Int32Array([0, 1, 2])]);
        expect(await read("u8")).toEqual(["u8", new Uint8Array([0, 255])]);
        expect(await read("b")).toEqual(["bool", new Uint8Array([1, 0])]);
        expect(await read("param")).toEqual(["f32", new Float32Array([1, 1])]);
        expect(await read("scalar")).toEqual(["f32", new Float32Array([3.5])]);
        expect(stored("scalar").shape).toEqual([]);
        expect(await read("empty")).toEqual(["f32", new Float32Array(0)]);
        expect(stored("empty").shape).toEqual([0, 4]);
        expect(await read("noncontig")).toEqual(["f32", new Float32Array([1, 5, 9, 2, 6, 10, 3, 7, 11])]);
        expect(stored("noncontig").stride).toEqual([1, 4]);
        const shared = at(root, "shared") as StoredTensor[];
        expect(await Promise.all(shared.map(numbers))).toEqual([[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]]);
        expect(at(root, "np_scalar")).toBe(1.25);
        expect(at(root, "tuple")).toEqual([1, "é", null, 2 ** 40, -1, 1.5, new Uint8Array([97, 98])]);
        expect(at(root, "set")).toEqual(new Set([1, 2]));
        const chunks: number[] = [];
        await stored("f64").readFloats((chunk, offset) => chunks.push(offset, ...chunk));
        expect(chunks).toEqual([0, 0, 1, 2]);
      }));

    test(`omegaconf becomes plain values without its cycles (${kind})`, () =>
      withFile(fixture(`micro_pl140_omegaconf_${kind}.ckpt`), ({ root }) => {
        const plain = unwrapOmegaconf(at(root, "hyper_parameters")) as Record<string, unknown>;
        expect(plain.ddconfig).toEqual({
          double_z: false,
          z_channels: 32,
          resolution: 32,
          in_channels: 3,
          out_ch: 3,
          ch: 32,
          ch_mult: [1, 2, 2],
          num_res_blocks: 2,
          attn_resolutions: [8],
          dropout: 0,
        });
        expect([plain.n_embed, plain.monitor, plain.remap]).toEqual([64, "val/rec_loss", null]);
        return Promise.resolve();
      }));
  }

  test("inspect reports the contents", async () => {
    const report = await inspect(fixture("micro_pl140_omegaconf_zip.ckpt"));
    expect([report.epoch, report.globalStep, report.tensors, report.values]).toEqual([1, 100, 17, 3642]);
    expect(report.dtypes).toEqual({ f32: 16, i64: 1 });
    expect(report.optimizers[0]).toEqual({
      parameters: 2,
      bytes: 8 * (864 + 3),
      lr: 1.35e-5,
      betas: [0.5, 0.9],
      step: 1,
    });
    const text = formatInspectReport(report);
    for (const part of ["loss.discriminator", "epoch 1, step 100", "lr 0.0000135", '"ch_mult":[1,2,2]']) {
      expect(text).toContain(part);
    }
  });
});

describe("files made by hand", () => {
  const open = (bytes: Uint8Array) => readCheckpoint(memorySource("made.pt", bytes));

  test("zip64, any root folder, long storage keys", async () => {
    const tensor = tensorCall("94012345678", 3, [3], [1]);
    const members = [
      { name: "my run/7/data.pkl", bytes: pickle(new Map([["w", tensor]])), wide: true },
      { name: "my run/7/data/94012345678", bytes: floatBytes(1, 2, 3), wide: true },
    ];
    const file = await open(zip(members, true));
    expect(await numbers(file.tensors.get("w"))).toEqual([1, 2, 3]);
  });

  test("a deflated data.pkl is unpacked, a deflated storage is refused with advice", async () => {
    const bytes = pickle(new Map([["w", tensorCall("0", 1, [], [])]]));
    const packed = {
      name: "a/data.pkl",
      bytes: deflateSync(bytes),
      method: 8,
      claim: { length: bytes.length },
    };
    const storage = { name: "a/data/0", bytes: floatBytes(7) };
    expect(await numbers((await open(zip([packed, storage]))).tensors.get("w"))).toEqual([7]);
    const file = await open(zip([packed, { ...storage, method: 8 }]));
    await expect(file.tensors.get("w")!.read()).rejects.toThrow(
      "is compressed, so it cannot be read by range",
    );
  });

  test("views: transposed, stepped, expanded, longer than a chunk", async () => {
    const values = Float32Array.from({ length: 1500 * 1000 }, (_, i) => i);
    const views = new Map([
      ["transposed", tensorCall("0", values.length, [1000, 1500], [1, 1000])],
      ["long rows", tensorCall("0", values.length, [2, 700_000], [1, 2])],
      ["stepped", tensorCall("0", values.length, [3], [2], 5)],
      ["expanded", tensorCall("0", values.length, [2, 3], [0, 1], 1)],
    ]);
    const file = await open(torchZip(views, { 0: new Uint8Array(values.buffer) }));
    expect(await numbers(file.tensors.get("stepped"))).toEqual([5, 7, 9]);
    expect(await numbers(file.tensors.get("expanded"))).toEqual([1, 2, 3, 1, 2, 3]);
    const transposed = await file.tensors.get("transposed")!.read();
    const wrong = transposed.findIndex((v, i) => v !== i % 1500 * 1000 + Math.floor(i / 1500));
    expect(wrong).toBe(-1);
    const long = await file.tensors.get("long rows")!.read();
    expect(long.findIndex((v, i) => v !== i % 700_000 * 2 + Math.floor(i / 700_000))).toBe(-1);
    for (const name of ["transposed", "long rows"]) {
      let next = 0;
      await file.tensors.get(name)!.readFloats((chunk, offset) => {
        expect([offset, chunk.length <= 2 ** 18]).toEqual([next, true]);
        next += chunk.length;
      });
      expect(next).toBe(name === "transposed" ? 1_500_000 : 1_400_000);
    }
  });

  test("integers of any sign and length, Python 2 strings", async () => {
    const root = new Map([
      ["minus", new Raw([0x8a, 1, 0xff])],
      ["big", new Raw([0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1])],
      ["zero", new Raw([0x8a, 0])],
      ["long4", new Raw([0x8b, 2, 0, 0, 0, 0, 0x80])],
      ["text", new Raw([0x53, ...new TextEncoder().encode("'a\\x41\\n'"), 10])],
      ["bytes", new Raw([0x55, 2, 0x80, 0xe9])],
      ["old", new Raw([0x4c, 0x2d, 0x35, 0x4c, 10])],
      ["unicode", new Raw([0x56, ...new TextEncoder().encode("\\u00e9"), 10])],
    ]);
    const { root: read } = await open(torchZip(root));
    expect(read).toEqual(
      new Map<string, unknown>([
        ["minus", -1],
        ["big", 2 ** 64],
        ["zero", 0],
        ["long4", -32768],
        ["text", "aA\n"],
        ["bytes", "\x80\xe9"],
        ["old", -5],
        ["unicode", "é"],
      ]),
    );
  });

  test("a whole pickled module yields its state_dict keys", async () => {
    const w = tensorCall("0", 2, [2], [1]);
    const leaf = new Call(
      new Global("torch.nn", "Linear"),
      [],
      new Map([["_parameters", new Map([["weight", w]])], ["_modules", new Map()]]),
    );
    const net = new Call(
      new Global("mine", "Net"),
      [],
      new Map([
        ["_buffers", new Map([["b", w], ["not_saved", w]])],
        ["_non_persistent_buffers_set", new Call(new Global("builtins", "set"), [["not_saved"]])],
        ["_modules", new Map([["fc", leaf]])],
      ] as [string, Pickled][]),
    );
    const file = await open(torchZip(net, { 0: floatBytes(1, 2) }));
    expect([...file.tensors.keys()]).toEqual(["b", "fc.weight"]);
    expect(file.root instanceof PickleObject && file.root.classPath).toBe("mine.Net");
  });

  test("tensors under one name are both kept, and keys of any kind have a short name", async () => {
    const w = () => tensorCall("0", 2, [2], [1]);
    const root = new Map<string, Pickled>([["a", new Map([["b", w()]])], ["a.b", w()]]);
    const twice = await open(torchZip(root, { 0: floatBytes(1, 2) }));
    expect([...twice.tensors.keys()]).toEqual(["a.b", "a.b (2)"]);
    // {(1, "x"): w, ((1,),): w}
    const [pair, nested] = [[0x4b, 1, 0x8c, 1, 0x78, 0x86], [0x4b, 1, 0x85, 0x85]];
    const call = [...pickle(w())].slice(2, -1);
    const keys = new Raw([0x7d, 0x28, ...pair, ...call, ...nested, ...call, 0x75]);
    const odd = await open(torchZip(keys, { 0: floatBytes(1, 2) }));
    expect([...odd.tensors.keys()]).toEqual(["1,x", "(a structure)"]);
  });

  test("texts as Python reads them: byte order marks and halves of surrogate pairs stay", async () => {
    const text = (...bytes: number[]) => [0x58, bytes.length, 0, 0, 0, ...bytes];
    const values = [text(0xef, 0xbb, 0xbf, 0x61), text(0x61, 0xed, 0xa0, 0x80, 0xc3, 0xa9), [0x55, 1, 0xe9]];
    const { root } = await open(torchZip(new Raw([0x28, ...values.flat(), 0x74])));
    expect(root).toEqual(["\uFEFFa", "a\ud800é", "é"]);
    for (const bad of [text(0xff), text(0xed, 0xa0), [0x63, 0xff, 10, 0x61, 10]]) {
      await expect(open(torchZip(new Raw(bad)))).rejects.toThrow("a text is not UTF-8");
    }
  });

  test("numbers of every opcode", async () => {
    const line = (code: string, text: string) => [...code, ...text, "\n"].map((c) => c.charCodeAt(0));
    const values = [
      ...[line("I", "42"), line("I", "01"), line("I", "00"), line("L", "-12345678901L"), line("F", "1.5e3")],
      ...[line("F", "inf"), [0x4b, 200], [0x4d, 1, 2], [0x4a, 255, 255, 255, 255]],
      ...[
        [0x8a, 0],
        [0x8a, 1, 0xff],
        [0x8b, 2, 0, 0, 0, 0, 1],
        line("S", "'a\\x41\\n'"),
        line("V", "\\u00e9\\U0001f600"),
      ],
    ];
    const { root } = await open(torchZip(new Raw([0x28, ...values.flat(), 0x74])));
    expect(root).toEqual([
      42,
      true,
      false,
      -12345678901,
      1500,
      Infinity,
      200,
      513,
      -1,
      0,
      -1,
      256,
      "aA\n",
      "é😀",
    ]);
    for (const bad of [line("I", "4x"), line("F", "one"), line("L", ""), line("S", "a")]) {
      await expect(open(torchZip(new Raw(bad)))).rejects.toThrow(/is not a number|has no quotes/);
    }
  });
});

const torchFiles = join(here, "../../../../../shared/torchfiles");

interface ExpectedFile {
  format: "zip" | "legacy";
  tensors: Record<string, { type: string; shape: number[]; stride: number[]; sum: number; first: number }>;
}

if (!existsSync(torchFiles)) {
  test.skip("real files of many torch versions: ../shared/torchfiles is missing", () => {});
} else {
  describe("real files of many torch versions", () => {
    const types: Record<string, string> = { FloatStorage: "f32", LongStorage: "i64", ByteStorage: "u8" };
    for (const name of readdirSync(torchFiles).filter((entry) => entry.includes("."))) {
      test(name, () =>
        withFile(join(torchFiles, name), async (file) => {
          const json = readFileSync(join(torchFiles, "expected", `${name}.json`), "utf8");
          const expected: ExpectedFile = JSON.parse(json);
          expect(file.format).toBe(`torch-${expected.format}`);
          const all = [...flattenTensors(file.root)];
          for (
            const [i, [key, { type, shape, stride, sum, first }]] of Object.entries(expected.tensors)
              .entries()
          ) {
            const [path, t] = all[i]!;
            // in the expected files, callbacks are keyed by the stub class that replaced Lightning's
            if (!key.includes("Stub")) expect(path).toBe(key);
            expect([key, t.dtype, t.shape, t.stride]).toEqual([key, types[type]!, shape, stride]);
            const values = await numbers(t);
            const size = values.reduce((a, v) => a + Math.abs(v), 1e-30);
            if (values.length > 0) expect(values[0]).toBe(first);
            expect(Math.abs(values.reduce((a, v) => a + v, 0) - sum)).toBeLessThanOrEqual(1e-6 * size);
          }
          expect(all.length).toBe(Object.keys(expected.tensors).length);
        }));
    }
  });
}
