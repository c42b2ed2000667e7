// The engine's worker: runs one operation at a time, in the order of the page's requests, and sends what each reports and
// returns.
/// <reference lib="dom" />
import { type Call, Engine } from "./engine.ts";
import { operations } from "./operations.ts";
import type { FromEngine, ToEngine } from "./protocol.ts";

type Request = Extract<ToEngine, { op: unknown }>;

const engine = new Engine();
/** The operations that were asked for and have not ended, and whether each was asked to stop. */
const running = new Map<number, { isStopped: boolean }>();
const send = (message: FromEngine): void => postMessage(message);

/** Resolves when it is the caller's turn, with the function that ends it. */
let last: Promise<void> = Promise.resolve();
async function turn(): Promise<() => void> {
  const before = last, { promise, resolve } = Promise.withResolvers<void>();
  last = promise;
  await before;
  return resolve;
}

async function run({ id, op, request }: Request): Promise<unknown> {
  const state = { isStopped: false };
  running.set(id, state);
  let end = await turn();
  const call: Call<unknown> = {
    report: (report) => send({ id, report }),
    turn: async () => {
      await new Promise((resolve) => setTimeout(resolve)); // requests that have come are put in line first
      end();
      end = await turn();
      if (state.isStopped) throw new Error("stopped");
    },
  };
  try {
    if (state.isStopped) throw new Error("stopped");
    const operation = operations[op] as (engine: Engine, request: unknown, call: Call<unknown>) => unknown;
    return await operation(engine, request, call);
  } finally {
    running.delete(id);
    end();
  }
}

onmessage = ({ data }: MessageEvent<ToEngine>) => {
  const { id } = data;
  if ("stop" in data) {
    const state = running.get(id);
    if (state) state.isStopped = true;
    return;
  }
  run(data).then(
    (answer) => send({ id, answer }),
    (error) => send({ id, error: error instanceof Error ? error.message : String(error) }),
  );
};
