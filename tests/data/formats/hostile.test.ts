// Damaged, foreign and malicious files give a one-line error quickly, and nothing from the file is ever executed.
// fuzz.test.ts mutates whole files.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import process from "node:process";
import { deflateSync } from "fflate";
import {
  FormatError,
  memorySource,
  openCheckpoint,
  PickleObject,
  readCheckpoint,
  unwrapOmegaconf,
} from "../../../data/index.ts";
import { mutationRandom } from "../../support/mutations.ts";
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
} from "../../support/torchfile.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const fixtures = ["misc", "pl108", "pl140_omegaconf"].flatMap((name) =>
  ["zip", "legacy"].map((kind) => {
    const path = new URL(`../../fixtures/micro_${name}_${kind}.ckpt`, import.meta.url);
    return { name: `${name} ${kind}`, bytes: new Uint8Array(readFileSync(path)) };
  })
);

/**
 * Reads all tensors of these bytes. Returns the message of the error, which must be a one-line FormatError, or null if
 * there is none.
 */
async function attempt(bytes: Uint8Array): Promise<string | null> {
  try {
    const file = await readCheckpoint(memorySource("x.ckpt", bytes));
    for (const t of file.tensors.values()) await t.read();
    unwrapOmegaconf(file.root);
    return null;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    expect(error.message).toMatch(/^x\.ckpt: .{10,}; .{5,}$/);
    return error.message;
  }
}

const ascii = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));

describe("damaged files", () => {
  for (const { name, bytes } of fixtures) {
    test(`${name}, is refused when cut off anywhere`, async () => {
      const lengths = Array.from({ length: 80 }, (_, i) => Math.floor(bytes.length * i / 80));
      for (const length of [...lengths, 1, 2, 3, 8, 9, 16, bytes.length - 22, bytes.length - 1]) {
        expect(await attempt(bytes.slice(0, length))).not.toBe(null);
      }
    });
  }

  test("pickles with bytes changed at random, in a valid archive", async () => {
    const call = new Call(new Global("a", "B"), [1, new Map([["k", [1.5, "two", null]]])], [1, 2]);
    const root: Pickled = new Map<string, Pickled>([
      ["w", tensorCall("0", 4, [2, 2], [2, 1])],
      ["o", new Call(new Global("collections", "OrderedDict"), [[["a", 1]]], new Map())],
      ["s", new Call(new Global("builtins", "set"), [[1, 2]])],
      ["c", call],
    ]);
    const sound = pickle(root);
    const next = mutationRandom(7);
    for (let i = 0; i < 3000; i++) {
      const bytes = sound.slice();
      for (let k = next() % 4; k >= 0; k--) bytes[next() % bytes.length] = next() & 255;
      await attempt(
        zip([{ name: "a/data.pkl", bytes }, { name: "a/data/0", bytes: floatBytes(1, 2, 3, 4) }]),
      );
    }
  });

  test("random bytes with the first bytes of each format", async () => {
    const next = mutationRandom(99);
    for (const { bytes } of fixtures.slice(0, 2)) {
      for (let i = 0; i < 200; i++) {
        const junk = Uint8Array.from({ length: 40 + next() % 3000 }, () => next() & 255);
        junk.set(bytes.subarray(0, [4, 16, 40][i % 3]!));
        expect(await attempt(junk)).not.toBe(null);
      }
    }
  });
});

describe("other files", () => {
  const cases: [string, Uint8Array, string][] = [
    ["empty", ascii(""), "the file is empty"],
    ["one byte", ascii("P"), "neither a torch, a safetensors nor a Flax file"],
    ["a web page", ascii("\n<!DOCTYPE html><html>login</html>"), "this is a web page (HTML)"],
    ["git-lfs", ascii("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), "git lfs pull"],
    ["gzip", ascii("\x1f\x8b\x08xxxxxxxxxxxxx"), "compressed with gzip"],
    ["tar", ascii("sys_info".padEnd(257, "\0") + "ustar\0".padEnd(300, "\0")), "a tar archive"],
    ["bare pickle", pickle(new Map([["a", 1]])), "a bare Python pickle"],
    ["other zip", zip([{ name: "word/document.xml", bytes: ascii("<a/>") }]), "no data.pkl"],
    ["empty zip", zip([]), "neither a torch, a safetensors nor"],
    ["text", ascii("hello, this is no checkpoint at all"), "68 65 6c 6c 6f"],
  ];
  for (const [name, bytes, message] of cases) {
    test(name, async () => expect(await attempt(bytes)).toContain(message));
  }

  test("a missing file, and a folder", async () => {
    await expect(openCheckpoint("/nowhere/last.ckpt")).rejects.toThrow("there is no such file");
    await expect(openCheckpoint(process.cwd())).rejects.toThrow("this folder holds no weights");
  });
});

describe("zip archives with false claims", () => {
  const data = { name: "a/data.pkl", bytes: pickle(new Map([["w", tensorCall("0", 2, [2], [1])]])) };
  const storage = { name: "a/data/0", bytes: floatBytes(1, 2) };

  test("entries that overlap, or extend beyond the file", async () => {
    const twin = { ...storage, name: "a/data/1", claim: { offset: 0 } };
    expect(await attempt(zip([data, storage, twin]))).toContain("claims bytes");
    for (
      const claim of [{ offset: 1e6 }, { length: 1e6, packed: 1e6 }, { length: 2 ** 31, packed: 2 ** 31 }]
    ) {
      expect(await attempt(zip([data, { ...storage, claim }]))).toContain("claims bytes");
      expect(await attempt(zip([data, { ...storage, claim, wide: true }], true))).toContain("claims bytes");
    }
  });

  test("two entries with one name, of which readers would choose different ones", async () => {
    const other = { ...data, bytes: pickle(new Map([["v", 1]])) };
    expect(await attempt(zip([data, storage, other]))).toContain("two entries are named a/data.pkl");
  });

  test("sizes that disagree", async () => {
    expect(await attempt(zip([data, { ...storage, claim: { length: 80 } }]))).toContain(
      "two different sizes",
    );
    expect(await attempt(zip([data]))).toContain("storage 0 should have 8 bytes and is missing");
    expect(await attempt(zip([data, { name: "a/data/0", bytes: floatBytes(1) }]))).toContain("and has 4");
  });

  test("a pickle that unpacks to more than it claims, or to too much", async () => {
    const packed = deflateSync(new Uint8Array(5_000_000));
    const bomb = (length: number) =>
      attempt(zip([{ name: "a/data.pkl", bytes: packed, method: 8, claim: { length } }]));
    expect(await bomb(100)).toContain("does not unpack to 100 bytes");
    expect(await bomb(2 ** 31)).toContain("at most 67108864 are read");
  });
});

describe("tensors with false claims", () => {
  const shapes: [string, Pickled[], Pickled[], Pickled][] = [
    ["too long", [5], [1], 0],
    ["absurd", [2 ** 40, 2 ** 40], [1, 1], 0],
    ["expanded without end", [2 ** 50], [0], 0],
    ["beyond by its strides", [2, 2], [3, 1], 0],
    ["beyond by its offset", [4], [1], 1],
    ["negative stride", [4], [-1], 3],
    ["negative offset", [1], [1], -4],
    ["negative shape", [-1], [1], 0],
    ["fractional", [1.5], [1], 0],
    ["not numbers", ["4"], [1], 0],
    ["rank differs", [2, 2], [1], 0],
    ["very many axes", Array.from({ length: 200 }, () => 1), Array.from({ length: 200 }, () => 1), 0],
  ];
  for (const [name, shape, stride, offset] of shapes) {
    test(name, async () => {
      const root = new Map([["w", tensorCall("0", 4, shape, stride, offset)]]);
      expect(await attempt(torchZip(root, { 0: floatBytes(1, 2, 3, 4) }))).toContain("corrupt: a tensor");
    });
  }

  test("an absurd storage", async () => {
    const root = new Map([["w", tensorCall("0", 2 ** 52, [4], [1])]]);
    expect(await attempt(torchZip(root, { 0: floatBytes(1, 2, 3, 4) }))).toContain("storage 0 should have");
  });

  test("a tensor of an unsupported type stays a record, and the others are read", async () => {
    const root = new Map([
      ["z", tensorCall("0", 1, [1], [1], 0, "ComplexFloatStorage")],
      ["w", tensorCall("1", 1, [1], [1])],
    ]);
    const source = memorySource("x", torchZip(root, { 0: floatBytes(1, 2), 1: floatBytes(3) }));
    expect([...(await readCheckpoint(source)).tensors.keys()]).toEqual(["w"]);
  });
});

describe("malicious pickles", () => {
  test("os.system, eval and getattr are inert records", async () => {
    const calls = [
      new Call(new Global("os", "system"), ["echo gotcha > /tmp/tessera-was-here"]),
      new Call(new Global("builtins", "eval"), ["1 + 1"]),
      new Call(new Global("builtins", "getattr"), [new Global("os", "system"), "__call__"]),
      new Call(new Global("constructor", "constructor"), ["return process"]),
    ];
    for (const call of calls) {
      const { root } = await readCheckpoint(memorySource("x", torchZip(call)));
      expect(root instanceof PickleObject && root.classPath).toBe(
        `${call.callee.module}.${call.callee.name}`,
      );
      expect(root instanceof PickleObject && root.args.length).toBe(call.args.length);
    }
  });

  test("the names __proto__ and constructor are keys like any other", async () => {
    const root = new Map([["__proto__", new Map([["polluted", 1]])], ["constructor", new Map([["x", 2]])]]);
    const file = await readCheckpoint(memorySource("x", torchZip(root)));
    const plain = unwrapOmegaconf(file.root) as object;
    expect(Object.keys(plain)).toEqual(["__proto__", "constructor"]);
    expect("polluted" in {}).toBe(false);
  });

  const list = (n: number) => [0x5d, 0x28, ...Array.from({ length: n }, () => 0x4e), 0x65];
  const cases: [string, Pickled, string][] = [
    ["state for a list", new Raw([0x5d, 0x7d, 0x62]), "sets the state of a list"],
    [
      "state for a set",
      new Call(new Global("builtins", "set"), [[1]], new Map([["size", 9]])),
      "sets the state of a set",
    ],
    ["call of a text", new Raw([0x4b, 1, 0x29, 0x52]), "calls a value"],
    ["call without arguments", new Raw([0x63, 0x61, 10, 0x62, 10, 0x4b, 1, 0x52]), "calls without a tuple"],
    ["underflow", new Raw([0x30, 0x30]), "takes more values than it has created"],
    ["mark missing", new Raw([0x74]), "refers to a mark that does not exist"],
    ["memo missing", new Raw([0x68, 200]), "refers to value 200"],
    ["odd dict", new Raw([0x7d, 0x28, 0x4e, 0x75]), "a key without a value"],
    ["extension", new Raw([0x82, 1]), "opcode 0x82"],
    ["long integer", new Raw([0x8b, 0, 0, 1, 0]), "an integer of 65536 bytes"],
    ["long text", new Raw([0x58, 255, 255, 255, 255]), "cut off"],
    ["longer text", new Raw([0x8d, 255, 255, 255, 255, 255, 255, 255, 255]), "cut off"],
    ["no end", new Raw([0x4e]), ""],
  ];
  for (const [name, root, message] of cases) {
    test(name, async () => {
      const bytes = pickle(root);
      const cut = name === "no end" ? bytes.subarray(0, -1) : bytes;
      expect(await attempt(zip([{ name: "a/data.pkl", bytes: cut }]))).toContain(message);
    });
  }

  test("few bytes that request much work", async () => {
    const tooMuch = "it makes more values than a checkpoint has";
    // a list of 20000, memoized, then copied by 500 calls
    const call = [0x63, 0x62, 0x75, 0x69, 0x6c, 0x74, 0x69, 0x6e, 0x73, 10, 0x73, 0x65, 0x74, 10];
    const repeat = Array.from({ length: 500 }, () => [0x68, 2, 0x68, 1, 0x52, 0x30]).flat();
    const copies = new Raw([...list(20000), 0x85, 0x71, 1, 0x30, ...call, 0x71, 2, ...repeat]);
    expect(await attempt(zip([{ name: "a/data.pkl", bytes: pickle(copies) }]))).toContain(tooMuch);
    const many = new Uint8Array(2 ** 22 + 9).fill(0x5d);
    expect(await attempt(zip([{ name: "a/data.pkl", bytes: many }]))).toContain(
      tooMuch,
    );
  });

  test("dicts within dicts: 2^60 paths, a thousand levels, a cycle", async () => {
    // {"a": d, "b": d} around itself sixty times
    const wrap = (
      i: number,
    ) => [0x7d, 0x28, 0x55, 1, 0x61, 0x68, i, 0x55, 1, 0x62, 0x68, i, 0x75, 0x71, i + 1];
    const ways = [0x7d, 0x71, 0, ...Array.from({ length: 60 }, (_, i) => [0x30, ...wrap(i)]).flat()];
    expect(await attempt(torchZip(new Raw(ways)))).toContain("more names or tensors than a checkpoint needs");
    let deep: Pickled = 1;
    for (let i = 0; i < 1000; i++) deep = new Map([["d", deep]]);
    expect(await attempt(torchZip(deep))).toBe(null);
    const cycle = new Raw([0x7d, 0x71, 0, 0x55, 1, 0x73, 0x68, 0, 0x73]);
    expect(await attempt(torchZip(cycle))).toBe(null);
  });
});
