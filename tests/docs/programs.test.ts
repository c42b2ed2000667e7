// The programs in examples/, each in a process of its own and in the runtime that runs the tests: what they print, and which
// pictures they leave. examples/vqgan.ts has a test of its own, and the server answers requests.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { drawCartoonFace, encodePng, openTokens, readImage, VQGAN } from "../../mod.ts";
import { root } from "../support/imports.ts";

setDefaultTimeout(120_000); // each takes seconds on a free machine

const examples = join(root, "examples"), folder = mkdtempSync(join(tmpdir(), "tessera-programs-"));
const names = readdirSync(examples).filter((name) => name.endsWith(".ts"));
const faces = join(root, "models", "faces.safetensors");
afterAll(() => rmSync(folder, { recursive: true }));

/** Starts a program in the folder. */
function start(name: string, ...words: (string | number)[]) {
  const all = [...("Deno" in globalThis ? ["run", "-A", "--no-check"] : []), join(examples, name), ...words];
  const child = spawn(process.execPath, all.map(String), { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<number | string>((resolve) => {
    child.on("close", (code, signal) => resolve(code ?? String(signal)));
  });
  let err = "";
  child.stderr.on("data", (chunk) => err += chunk);
  return { child, ended, errors: () => err };
}

/** The lines that a program prints. @throws if it fails */
async function printed(name: string, ...words: (string | number)[]): Promise<string[]> {
  const { child, ended, errors } = start(name, ...words);
  let out = "";
  child.stdout.on("data", (chunk) => out += chunk);
  if (await ended !== 0) throw new Error(`${name} failed:\n${errors()}`);
  return out.trim().split("\n");
}

/** The width and the height of a picture that a program has left. */
async function sizeOf(name: string): Promise<[number, number]> {
  const { width, height } = await readImage(join(folder, name));
  return [width, height];
}

/** All numbers in a line. */
const numbersIn = (line: string) => (line.match(/\d+(\.\d+)?/g) ?? []).map(Number);

test("examples/README.md lists every example once", () => {
  const listed = [...readFileSync(join(examples, "README.md"), "utf8").matchAll(/^\| \[(.*?)\]\(\1\)/gm)];
  const files = readdirSync(examples, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? readdirSync(join(examples, entry.name)).map((name) => `${entry.name}/${name}`)
      : entry.name
  ).filter((name) => name !== "README.md");
  expect(listed.map(([, name]) => name).sort()).toEqual(files.sort());
});

for (const name of names) {
  test(`${name} imports mod.ts alone, has a header that says how to start it, and is short`, () => {
    const lines = readFileSync(join(examples, name), "utf8").trimEnd().split("\n");
    const imported = [...lines.join("\n").matchAll(/^(?:import|\}) .*from "(.*)";$|^import "(.*)";$/gm)];
    for (const [, from] of imported) expect(from).toMatch(/^(\.\.\/mod\.ts|node:\w+)$/);
    expect(imported.length).toBeGreaterThan(0);
    expect(lines.slice(0, 8).join("\n")).toContain(`deno run -A examples/${name}`);
    const most = { "vqgan.ts": 250, "own_quantizer.ts": 140 }[name] ?? 60;
    expect(lines.length).toBeLessThanOrEqual(most);
  });
}

describe("examples", () => {
  test("autograd.ts finds the line", async () => {
    expect(await printed("autograd.ts")).toEqual(["slope 2.000, offset -1.000"]);
  });

  test("tokens.ts changes one token", async () => {
    const lines = await printed("tokens.ts");
    expect(lines.length).toBe(17);
    expect(lines.slice(0, 16).flatMap(numbersIn).length).toBe(256);
    expect(await sizeOf("tokens.png")).toEqual([3 * 130 + 2, 132]);
  });

  test("swap_tokens.ts changes most in the tiles that it swaps", async () => {
    const [swapped, change] = await printed("swap_tokens.ts");
    expect(swapped).toBe("40 of 256 tokens swapped");
    const [inside, , outside] = numbersIn(change);
    expect(inside).toBeGreaterThan(30);
    expect(outside).toBeLessThan(8);
    expect(outside).toBeGreaterThan(0);
    expect((await sizeOf("swap_tokens.png"))[0]).toBe(4 * 132 + 4);
  });

  test("interpolate.ts goes from the tokens of one face to those of the other", async () => {
    const lines = await printed("interpolate.ts");
    const shares = lines.slice(0, 7).map(numbersIn);
    expect(shares[0].slice(0, 2)).toEqual([0, 100]);
    expect([shares[6][0], shares[6][2]]).toEqual([1, 100]);
    expect(shares[3][3]).toBeGreaterThan(60); // half way, most belong to neither
    expect(await sizeOf("interpolate.png")).toEqual([7 * 130 + 2, 3 * 130 + 2]);
  });

  test("encode_folder.ts writes each picture once", async () => {
    const [first] = await printed("encode_folder.ts");
    expect(first).toContain("12 rows, 12 of them new");
    const [second] = await printed("encode_folder.ts");
    expect(second).toContain("12 rows, 0 of them new");
    const model = await VQGAN.load(faces);
    for await (const { file, encoding } of (await openTokens(join(folder, "tokens.parquet"))).records()) {
      expect(encoding).toEqual([...(await model.tokensOf(join(folder, file))).tokens]);
      break;
    }
    model.dispose();
  });

  test("classify.ts tells turned pictures apart by their tokens", async () => {
    const [learnt, unseen] = (await printed("classify.ts", 12)).map(numbersIn);
    expect(learnt).toEqual([36, 36]);
    expect(unseen[1]).toBe(12);
    expect(unseen[0]).toBeGreaterThan(5); // guessing has 3
  });

  test("own_loss.ts brings the eyes closer than the other pixels", async () => {
    const [codes, alike, eyes] = (await printed("own_loss.ts", 12)).map((line) => numbersIn(line).slice(-2));
    expect(alike[1]).toBeLessThan(codes[1]);
    expect(eyes[0]).toBeLessThan(alike[0]);
    expect(eyes[1]).toBeGreaterThan(alike[1]);
    expect((await sizeOf("own_loss.png"))[0]).toBe(4 * 68 + 4);
  });

  test("own_operation.ts has the gradients of its parts, with less memory", async () => {
    const [difference, kept] = await printed("own_operation.ts");
    expect(Number(difference.split(": ")[1])).toBeLessThan(1e-5);
    const [parts, own] = numbersIn(kept);
    expect(own).toBeLessThan(parts);
  });

  test("own_quantizer.ts saves and loads its model", async () => {
    expect((await printed("own_quantizer.ts")).join("\n")).toContain("240");
  });

  test("finetune.ts leaves a checkpoint and a picture", async () => {
    const lines = await printed("finetune.ts", 4);
    expect(lines.join("\n")).toMatch(/PSNR of pictures kept back: \d+\.\d+ -> \d+\.\d+ dB/);
    const checkpoint = lines.find((line) => line.endsWith("last.safetensors"));
    expect(existsSync(join(folder, checkpoint ?? ""))).toBe(true);
    expect(await sizeOf("finetune.png")).toEqual([3 * 66 + 2, 4 * 66 + 2]);
  });
});

test("server.ts answers requests at once as it does one after the other, refuses wrong ones, and stops", async () => {
  const { child, ended, errors } = start("server.ts", 0);
  try {
    const address = await new Promise<string>((resolve, reject) => {
      child.stdout.on("data", (chunk) => resolve(/http:\S+/.exec(String(chunk))?.[0] ?? ""));
      child.on("close", () => reject(new Error(errors())));
    });
    const post = (path: string, body: BodyInit) => fetch(address + path, { method: "POST", body });
    const pictures = await Promise.all([1, 2, 3, 4].map(async (seed) => {
      return { width: 128, height: 128, pixels: await drawCartoonFace(seed, 128) };
    }));
    const files = await Promise.all(pictures.map(async (picture) => await encodePng(picture) as BodyInit));
    const model = await VQGAN.load(faces), wanted: number[][] = [];
    for (const picture of pictures) wanted.push([...(await model.tokensOf(picture)).tokens]);
    const drawn = await model.pictureOf(wanted[0]);
    model.dispose();

    const body = JSON.stringify({ tokens: wanted[0] });
    const [again, ...answers] = await Promise.all([
      post("/picture", body),
      ...files.map((file) => post("/tokens", file)),
    ]);
    for (const [i, answer] of answers.entries()) {
      expect([answer.status, await answer.json()]).toEqual([200, { grid: [16, 16], tokens: wanted[i] }]);
    }
    expect((await readImage(await again.arrayBuffer())).pixels).toEqual(drawn.pixels);

    for (
      const [path, text] of [["/tokens", "no picture"], ["/tokens", ""], ["/picture", "{"], [
        "/picture",
        "[]",
      ], [
        "/picture",
        '{"tokens":[1]}',
      ]]
    ) {
      const answer = await post(path, text);
      expect({ path, text, status: answer.status }).toEqual({ path, text, status: 400 });
      expect((await answer.text()).trim().split("\n").length).toBe(1);
    }
    expect((await fetch(`${address}/tokens`)).status).toBe(404);
    const late = post("/tokens", files[0]);
    const many = await Promise.all(Array.from({ length: 40 }, () => post("/tokens", files[0])));
    const statuses = new Set(many.map(({ status }) => status));
    for (const answer of [...many, await late]) await answer.body?.cancel();
    expect([...statuses].sort()).toEqual([200, 503]);

    process.kill(child.pid!, "SIGTERM"); // after child.kill, Deno reports this signal whatever the exit code is
    expect([await ended, errors()]).toEqual([0, ""]);
  } finally {
    child.kill("SIGKILL");
  }
});
