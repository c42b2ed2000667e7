// What a checkpoint says about its run is checked before any of it is used: it names files, and may come from anywhere.
import { Buffer } from "node:buffer";
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beginRun, checkpointOf, readRunState, resumeRun } from "../../../train/index.ts";
import { finish, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-state-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);
const good = await checkpointOf(await finish(await beginRun(newRun({ steps: 2, valEvery: 1 }))));

type Json = Record<string, unknown>;

/** Writes the checkpoint with other metadata. @returns its path, in the folder of a run of its own */
async function changed(
  name: string,
  change: (state: Json, metadata: Record<string, string>) => void,
): Promise<string> {
  const file = await readFile(good), length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + length).toString());
  const metadata = header.__metadata__ as Record<string, string>, state = JSON.parse(metadata.state) as Json;
  const text = metadata.state;
  change(state, metadata);
  if (metadata.state === text) metadata.state = JSON.stringify(state);
  let json = JSON.stringify(header);
  json += " ".repeat((8 - Buffer.byteLength(json) % 8) % 8);
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(Buffer.byteLength(json)));
  const path = join(folder, "changed", name, "checkpoints", "last.safetensors");
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, Buffer.concat([size, Buffer.from(json), file.subarray(8 + length)]));
  return path;
}

const set = (...path: string[]) => (value: unknown) => (state: Json) => {
  const last = path.pop()!;
  (path.reduce((at, key) => at[key] as Json, state))[last] = value;
};

const refusals: [string, (state: Json) => void, string][] = [
  [
    "a best checkpoint outside the run",
    set("best", "file")("../../../../victim.txt"),
    'best: file is "../../../../victim.txt", expected a name such as step-000250.safetensors, or null',
  ],
  ["an absolute best checkpoint", set("best", "file")("/etc/passwd"), 'best: file is "/etc/passwd"'],
  [
    "last.safetensors as the best",
    set("best", "file")("last.safetensors"),
    'best: file is "last.safetensors"',
  ],
  ["a best checkpoint that is no text", set("best", "file")(["step-000001.safetensors"]), "best: file is"],
  ["a best loss that is no number", set("best", "loss")("low"), 'best: loss is "low", expected a number'],
  ["a best step below 0", set("best", "step")(-1), "best: step is -1"],
  ["a step that is no number", set("step")("2"), 'step is "2", expected a whole number >= 0'],
  ["half a step", set("step")(1.5), "step is 1.5"],
  ["no step", set("step")(undefined), "step is undefined"],
  ["an epoch of null", set("epoch")(null), "epoch is null"],
  [
    "no sampler",
    set("sampler")(undefined),
    "sampler is undefined, expected { length, seed, epoch, position }",
  ],
  ["a sampler at no picture", set("sampler", "position")(999), "at picture 999 of 4"],
  ["a sampler of other pictures", set("sampler", "length")(5), "of 5, and has 4"],
  [
    "random numbers without a counter",
    set("random", "dropout")({ seed: 1 }),
    "random is { dropout, restart }",
  ],
  ["samples that are no paths", set("samples", "paths")([1]), "samples is { step, paths }"],
  [
    "pictures whose list is elsewhere",
    set("pictures", "hash")("../../../secret"),
    "pictures is { hash, train, held }",
  ],
  ["negative pictures", set("pictures", "train")(-4), "pictures is { hash, train, held }"],
  [
    "codes that are too many",
    set("training", "code_usage")({ recent: [], sinceRestart: Array(99).fill(0) }),
    "code_usage: the usage of the codes: sinceRestart is [0, 0, 0, 0, 0, 0, ...], expected 16 whole numbers, or null",
  ],
  [
    "tokens that are outside the codebook",
    set("training", "code_usage")({ recent: [3, 16], sinceRestart: null }),
    "code_usage: the usage of the codes: recent is [3, 16], expected at most 64 tokens below 16",
  ],
  [
    "a way to train the codebook that there is not",
    set("settings", "codebook")({ learning: "magic" }),
    'codebook: learning is "magic", expected "adam", "ema" or "simvq"',
  ],
  ["one optimizer", set("adamSteps")([{}]), "adamSteps is [{  }], expected whole numbers by name"],
  ["steps of Adam that are no numbers", set("adamSteps")([{ x: "1" }, {}]), "adamSteps is"],
  ["frozen without names", set("frozen")(7), "frozen is 7, expected a list of strings"],
  [
    "a loss scale of 0",
    set("lossScale")({ value: 0, steps: 0, isOver: false }),
    "lossScale is { value, steps, isOver }",
  ],
  ["a flag that is no flag", set("hasCodebook")("yes"), 'hasCodebook is "yes", expected true or false'],
  [
    "measurements that are no numbers",
    set("first")({ step: 0, values: { "val/psnr": "9" } }),
    "first is { step, values }",
  ],
  ["settings that are a list", set("settings")([]), "settings is [], expected an object"],
  ["a batch of 0", set("settings", "batch")(0), "settings: batch is 0, expected a whole number >= 1"],
  [
    "a name that leaves the folder",
    set("settings", "name")("../../x"),
    'settings: name is "../../x", expected a name without slashes',
  ],
  ["data of numbers", set("settings", "data")([1]), "settings: data is [1], expected a list of strings"],
  ["no data", set("settings", "data")([]), "data names no pictures"],
  ["validation in another form", set("settings", "val")({}), "settings: val is {  }"],
  ["a start that is no path", set("settings", "from")(5), "settings: from is 5, expected a string, or null"],
  ["a rate of text", set("settings", "lr")("fast"), 'settings: lr is "fast"'],
];

for (const [what, change, message] of refusals) {
  test(`${what} is refused in one line, and nothing is removed or written`, async () => {
    const path = await changed("refused", change), run = join(path, "..", "..");
    const victim = join(folder, "victim.txt");
    await writeFile(victim, "precious");
    const refused = resumeRun(run).then(() => "resumed", (error) => (error as Error).message);
    const text = await refused;
    expect(text.startsWith(`${path}: `)).toBe(true);
    expect(text).toContain(message);
    expect(text.split("\n").length).toBe(1);
    expect([await readFile(victim, "utf8"), await readdir(run)]).toEqual(["precious", ["checkpoints"]]);
  });
}

test("a state that is no JSON, or of another version, is refused in one line", async () => {
  const broken = await changed("broken", (_, metadata) => metadata.state = "{");
  await expect(resumeRun(broken)).rejects.toThrow(/^[^\n]*last.safetensors: [^\n]*JSON[^\n]*$/);
  const list = await changed("list", (_, metadata) => metadata.state = "[1]");
  await expect(resumeRun(list)).rejects.toThrow("the run's state: it is [1], expected an object");
  const older = await changed("older", (_, metadata) => metadata.version = "1");
  await expect(resumeRun(older)).rejects.toThrow(
    'holds a run in version "1" of the format, but this Tessera reads version 3: begin a new run with start: { from:',
  );
});

test("batches that no device can hold are refused before pictures are read for them", async () => {
  const path = await changed("huge", set("settings", "batch")(1e9));
  await expect(resumeRun(path)).rejects.toThrow(
    "a batch of 1000000000 pictures of 16x16 takes 3072000000000 bytes, but a tensor can have 4294967296",
  );
});

test("what is not in the state of a run is not needed", async () => {
  const path = await changed(
    "fine",
    (state) => Object.assign(state, { later: 1, best: null }),
  );
  expect((await readRunState(path)).step).toBe(2);
  await finish(await resumeRun(path, { steps: 3 }));
});

const hostile = fileURLToPath(new URL("../../../../shared/cases/hostile/best_delete", import.meta.url));
if (!existsSync(hostile)) console.log("state: ../shared is not here, so its hostile run is not tried");
else {
  test("the hostile run of the shared cases", async () => {
    const deep = join(folder, "a", "b"), run = join(deep, "run"), victim = join(folder, "a", "victim.txt");
    await mkdir(deep, { recursive: true });
    await cp(hostile, run, { recursive: true });
    await writeFile(victim, "precious");
    await expect(resumeRun(run)).rejects.toThrow(/version "1" of the format/);
    expect(await readFile(victim, "utf8")).toBe("precious");
  });
}
