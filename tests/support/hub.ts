// What the tests of names on the network share: a hub of their own with an empty cache, and small checkpoints.
import { expect } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { writeSafetensorsTo } from "../../data/formats/safetensors.ts";
import type { Patience } from "../../data/hub/requests.ts";
import { fetchCheckpoint, type FetchOptions } from "../../data/index.ts";
import { type Fault, HubServer } from "./hub_server.ts";
import { draws } from "./numbers.ts";

const variables = [
  ...["HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH"],
  ...["HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_SYMLINKS"],
  ...["HF_HUB_DISABLE_IMPLICIT_TOKEN", "XDG_CACHE_HOME"],
];

export interface HubFixture {
  readonly server: HubServer;
  /** An empty folder for everything that is kept. */
  readonly home: string;
  /** Empties the folder and the log, and makes the server well-behaved. */
  reset(): Promise<void>;
  /** The files below the folder whose paths contain this, sorted. */
  files(part?: string): Promise<string[]>;
  /** Fetches without patience. */
  fetched(name: string, options?: FetchOptions): Promise<string>;
  /** The message of the error that a fetch ends with, which must be one line that a terminal can take. */
  problem(name: string, options?: FetchOptions): Promise<string>;
  /** Lets the next downloads of large files go wrong, one after another; null is one that goes well. */
  faults(...list: (Fault | null)[]): void;
  /** The ranges that downloads of large files asked for. */
  ranges(): (string | null)[];
  /** Stops the server, removes the folder and restores the variables. */
  close(): Promise<void>;
}

/** Starts a hub and makes it the one that is asked, with an empty cache. */
export async function hubFixture(): Promise<HubFixture> {
  const before = variables.map((name) => [name, process.env[name]] as const);
  for (const name of variables) delete process.env[name];
  const server = await HubServer.open(), home = await mkdtemp(join(tmpdir(), "tessera-hub-"));
  const set = () =>
    Object.assign(process.env, { HF_ENDPOINT: server.url, HF_HOME: home, XDG_CACHE_HOME: home });
  set();
  return {
    server,
    home,
    async reset() {
      for (const name of await readdir(home)) await rm(join(home, name), { recursive: true });
      for (const name of variables) delete process.env[name];
      set();
      server.log.length = 0;
      server.fault = () => null;
    },
    async files(part = "") {
      const all = await readdir(home, { recursive: true, withFileTypes: true });
      const paths = all.filter((entry) => !entry.isDirectory()).map((entry) =>
        join(entry.parentPath, entry.name)
      );
      return paths.map((path) => path.slice(home.length + 1)).filter((path) => path.includes(part)).sort();
    },
    fetched: (name, options) => fetchCheckpoint(name, { patience: impatient, ...options }),
    async problem(name, options) {
      const error = await fetchCheckpoint(name, { patience: impatient, ...options }).then(
        () => new Error("it succeeded"),
        (error: Error) => error,
      );
      expect(error.message).not.toMatch(/\p{Cc}/u);
      return error.message.replaceAll(home, "HOME").replaceAll(new URL(server.url).host, "HUB");
    },
    faults(...list) {
      server.fault = ({ isStore }) => isStore ? list.shift() ?? null : null;
    },
    ranges: () => server.log.filter(({ isStore }) => isStore).map(({ range }) => range),
    async close() {
      await server.close();
      await rm(home, { recursive: true, force: true });
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    },
  };
}

/** A safetensors file with one tensor of so many numbers, the same for the same seed. */
export async function checkpointBytes(seed: string, count: number): Promise<Uint8Array> {
  const values = Float32Array.from(draws(seed, count));
  const pieces: Uint8Array[] = [];
  const tensor = { name: "w", shape: [count], dtype: "f32", data: () => values } as const;
  await writeSafetensorsTo({ write: (bytes) => Promise.resolve(void pieces.push(bytes.slice())) }, [tensor]);
  return new Uint8Array(Buffer.concat(pieces));
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** For tests that do not want to wait until a server is asked again. */
export const impatient: Patience = { question: 20_000, silence: 20_000, pauses: [1, 1, 1], longest: 100 };

/** For tests of servers that are silent. */
export const hasty: Patience = { ...impatient, question: 1000, silence: 1000 };
