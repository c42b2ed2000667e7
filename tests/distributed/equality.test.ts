// n ranks compute the same bits as one process that accumulates n batches: weights, moments, codes and averages.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { device } from "../../src/index.ts";
import { checkpointOf, type Metrics, readRunState } from "../../train/index.ts";
import { launchers, missing, outputOf, scriptWords } from "../support/mpi.ts";
import { metricsOf, runFixture, tensorBytes } from "../support/runs.ts";

setDefaultTimeout(300_000);

const folder = await mkdtemp(join(tmpdir(), "ranks-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
await runFixture(folder);
const script = scriptWords("./ranked.ts");
/** A GPU, or why the test on one is skipped. */
const gpu = await device("webgpu").catch((error: Error) => error.message);
await device("cpu");

/** Trains in `n` ranks, or alone without a launcher. @returns the folder of the run */
async function trained(
  name: string,
  kind: string,
  total: number,
  before: readonly string[] = [],
): Promise<string> {
  const out = join(folder, name);
  await outputOf([...before, ...script, folder, out, kind, String(total)]);
  return join(out, (await readdir(out))[0]);
}

/** Statistics of batch norm are those of rank 0's own pictures. */
const isOwn = (name: string) => /running_(mean|var)$|num_batches_tracked$/.test(name);

/** The tensors of a run's last checkpoint, as bytes. */
async function tensorsOf(run: string): Promise<Map<string, string>> {
  const { header, bytes } = await tensorBytes(await checkpointOf(run));
  return new Map(
    Object.entries(header as Record<string, { data_offsets: [number, number] }>)
      .filter(([name]) => !isOwn(name))
      .map(([name, { data_offsets: [from, to] }]) => [name, bytes.subarray(from, to).toHex()]),
  );
}

async function expectSame(one: string, other: string): Promise<void> {
  const [a, b] = await Promise.all([tensorsOf(one), tensorsOf(other)]);
  expect([...a.keys()]).toEqual([...b.keys()]);
  expect([...a].filter(([name, bytes]) => bytes !== b.get(name)).map(([name]) => name)).toEqual([]);
  const [c, d] = await Promise.all(
    [one, other].map(async (run) => await readRunState(await checkpointOf(run))),
  );
  expect(c.sampler).toEqual(d.sampler);
  expect(c.random).toEqual(d.random);
}

/** What depends on batch norm, the epoch of the last picture of rank 0, and means of ratios, which are not ratios of means. */
const isLoose = (name: string) => /^epoch$|d_weight|d_ratio|total_loss|^val\/(disc|logit|g_loss)/.test(name);

/** Sums of numbers in another order differ in the last digits. */
function expectClose(one: readonly Metrics[], other: readonly Metrics[]): void {
  expect(other.length).toBe(one.length);
  for (const [i, values] of other.entries()) {
    for (const [name, value] of Object.entries(values)) {
      if (!isLoose(name)) {
        expect([i, name, Number(value)]).toEqual([i, name, expect.closeTo(Number(one[i][name]), 4)]);
      }
    }
  }
}

async function expectEqual(kind: string, n: number, words: (n: number) => string[]): Promise<void> {
  const alone = await trained(`alone ${kind}`, kind, n);
  const together = await trained(`together ${kind}`, kind, n, words(n));
  await expectSame(alone, together);
  expectClose(await metricsOf(alone), await metricsOf(together));
}

describe("the bits of several ranks are those of one process that accumulates", () => {
  for (const name of missing) test.skip(`${name} is not installed`, () => {});
  for (const [n, kind] of [[2, "plain"], [3, "averages"]] as const) {
    const { name, words } = launchers[n % launchers.length] ?? {};
    if (!name) continue;
    test(`${n} ranks by ${name}, ${kind}`, () => expectEqual(kind, n, words));
  }

  const launcher = launchers.at(-1);
  if (typeof gpu === "string") test.skip(`on a GPU: ${gpu}`, () => {});
  else if (launcher) {
    test(`2 ranks by ${launcher.name}, on a GPU`, () => expectEqual("gpu", 2, launcher.words));
  }
});
