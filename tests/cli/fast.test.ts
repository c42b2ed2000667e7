// The start with V8's flags for vectors of 256 bits: the program is replaced by itself, so nothing around it may change.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { startFast, unknownFlags, whyNotFast } from "../../cli/fast.ts";
import { WIDE_FLAGS } from "../../src/backends/wasm/v8_flags.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const script = fileURLToPath(new URL("../support/fast.ts", import.meta.url));
const words = ["two words", "", "it's", "ä"];
const canBeFast = Boolean(process.versions.deno) && process.platform === "linux" && process.arch === "x64";

/** The variables of this process, without those that the tests are about. */
const environment: NodeJS.ProcessEnv = { ...process.env };
delete environment.DENO_V8_FLAGS;
delete environment.TESSERA_FAST;

interface Printed {
  readonly pid: number;
  readonly isFast: boolean;
  readonly why: string;
  readonly words: readonly string[];
  readonly input: string;
  readonly isTerminal: boolean;
}

function answer(more: object = {}, flags = ["-A"], program = process.execPath): Printed & { code: number } {
  const first = program === process.execPath ? ["run", "--no-prompt", "--no-check", ...flags] : [];
  const { stdout, stderr, status } = spawnSync(program, [...first, script, ...words], {
    input: "typed",
    encoding: "utf8",
    env: { ...environment, ...more },
  });
  expect(stderr).toBe("");
  return { ...JSON.parse(stdout) as Printed, code: status! };
}

/** Starts the program and waits until it has printed its line. */
async function waiting(): Promise<{ child: ChildProcess; printed: Printed }> {
  const child = spawn(process.execPath, ["run", "-A", "--no-check", script, "wait"], {
    env: environment,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout!.on("data", (text) => out += text);
  while (!out.includes("\n")) await once(child.stdout!, "data");
  return { child, printed: JSON.parse(out) as Printed };
}

describe("V8's flags for vectors of 256 bits", () => {
  if (!canBeFast) {
    const lack = "needs Deno on Linux and x64";
    test.skip(`are there after a second start: ${lack}`, () => {});
    if (process.versions.bun) {
      test("are not looked for in Bun", () => {
        startFast();
        expect([whyNotFast(), WIDE_FLAGS]).toEqual(["only V8 on x64 has more", []]);
      });
    }
    return;
  }

  test("are there after a second start, with the same words, standard input and exit code", () => {
    const { pid: _, ...rest } = answer();
    expect(rest).toEqual({ isFast: true, why: "", words, input: "typed", isTerminal: false, code: 7 });
  });

  test("the process stays the same one, so every signal finds it and no child is left", async () => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"] as const) {
      const { child, printed } = await waiting();
      expect([printed.pid, printed.isFast]).toEqual([child.pid!, true]);
      child.kill(signal);
      const [code, ended] = await once(child, "close");
      expect([signal, code, ended]).toEqual([signal, null, signal]);
      expect(() => process.kill(printed.pid, 0)).toThrow("ESRCH");
    }
  });

  test("a terminal stays a terminal", () => {
    const command = `'${process.execPath}' run -A --no-check '${script}' </dev/null`;
    const { stdout, error } = spawnSync("script", ["-qec", command, "/dev/null"], {
      encoding: "utf8",
      env: environment,
    });
    expect(error).toBe(undefined);
    const { isFast, isTerminal } = JSON.parse(stdout.slice(stdout.indexOf("{"), stdout.indexOf("}") + 1));
    expect({ isFast, isTerminal }).toEqual({ isFast: true, isTerminal: true });
  });

  test("other flags of V8 are kept", () => {
    const { isFast, code } = answer({ DENO_V8_FLAGS: "--max-old-space-size=512" });
    expect([isFast, code]).toEqual([true, 7]);
  });

  test("are set by hand, without a second start", () => {
    const { isFast } = answer({ DENO_V8_FLAGS: WIDE_FLAGS.join() }, ["--allow-env"]);
    expect(isFast).toBe(true);
  });

  test("are there below a launcher of MPI too, which knows its processes by their numbers", () => {
    expect(answer({ OMPI_COMM_WORLD_RANK: "0", OMPI_COMM_WORLD_SIZE: "2" }).isFast).toBe(true);
  });

  test("are left out if a variable or a permission says so, with the reason", () => {
    const off = (more: object, flags?: string[]) => {
      const { isFast, why, code, input } = answer(more, flags);
      expect([isFast, code, input]).toEqual([false, 7, "typed"]);
      return why;
    };
    const others = ["--allow-read", "--allow-sys"];
    expect(off({ TESSERA_FAST: "0" })).toBe("TESSERA_FAST=0 forbids 256");
    expect(off({}, others)).toBe("256 needs --allow-env --allow-run --allow-ffi");
    expect(off({}, [...others, "--allow-env", "--allow-ffi"])).toBe("256 needs --allow-run");
    expect(off({}, [...others, "--allow-env", "--allow-run"])).toBe("256 needs --allow-ffi");
  });

  test("are left out if this V8 does not know them", () => {
    expect(unknownFlags(["--no-such-flag", ...WIDE_FLAGS, "--wasm"])).toEqual(["--no-such-flag", "--wasm"]);
  });

  const node = process.env.NODE ?? "node";
  const version = spawnSync(node, ["--version"], { encoding: "utf8" }).stdout?.trim() ?? "";
  const name = "Node sets its one flag without a second start";
  if (Number(/^v(\d+)/.exec(version)?.[1]) < 23) {
    test.skip(`${name}: ${node} is ${version}, NODE may name one from 23 on`, () => {});
  } else {
    test(name, () => {
      const { isFast, why, code } = answer({}, [], node);
      expect({ isFast, why, code }).toEqual({ isFast: true, why: "", code: 7 });
    });
  }
});
