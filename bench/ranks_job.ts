// One rank of bench/ranks.ts: `ranks_job.ts sums REPEAT` times the sum of the gradients of f16-16384, `ranks_job.ts steps
// REPEAT SIZE` steps with the sums and without. Rank 0 prints one JSON line with the best times in seconds.
import process from "node:process";
import { preset } from "../data/formats/config.ts";
import { VQGAN } from "../nn/index.ts";
import { asyncScope, keep, ones, Random, type Tensor } from "../src/index.ts";
import { oneRank, openRanks, type Ranks, Trainer } from "../train/index.ts";
import { fillModel } from "./fill.ts";

const [job, repeat, size = "64"] = process.argv.slice(2);
const { ranks, description, close } = await openRanks();
const best = async (work: () => Promise<void>): Promise<number> => {
  let least = Infinity;
  for (let i = 0; i <= Number(repeat); i++) {
    await ranks.gather(null);
    const start = performance.now();
    await work();
    if (i > 0) least = Math.min(least, (performance.now() - start) / 1000); // the first one makes the memory
  }
  return least;
};

const model = new VQGAN(preset("f16-16384", { lossconfig: { perceptualWeight: 0 } }), null, {
  withLoss: true,
});

/** The sum of all gradients, and a message that is nearly empty. */
async function sums(): Promise<object> {
  const gradients: Tensor[] = [...model.generatorParameters().values()].map(({ shape }) => keep(ones(shape)));
  const cpu = process.cpuUsage(), bytes = gradients.reduce((sum, { size }) => sum + 4 * size, 0);
  const sum = await best(() => ranks.sum(gradients));
  const { user, system } = process.cpuUsage(cpu);
  const message = await best(async () => {
    for (let i = 0; i < 20; i++) await ranks.gather(i);
  });
  return { bytes, sum, cpu: (user + system) / 1e6 / (Number(repeat) + 1), message: message / 20 };
}

/** Steps on one picture for each rank. */
async function steps(): Promise<object> {
  fillModel(model.stateDict());
  const withoutSums: Ranks = { ...oneRank, rank: ranks.rank, size: ranks.size };
  const timed = async (used: Ranks) => {
    const trainer = new Trainer(model, { learningRate: () => 1e-9, ranks: used }), side = Number(size);
    const time = await best(() =>
      asyncScope(async () => void await trainer.trainStep([new Random(1).uniform([1, side, side, 3], -1, 1)]))
    );
    trainer.dispose();
    return time;
  };
  return { computing: await timed(withoutSums), step: await timed(ranks) };
}

const result = job === "sums" ? await sums() : await steps();
if (ranks.isFirst) console.log(JSON.stringify({ description, ranks: ranks.size, ...result }));
await close();
