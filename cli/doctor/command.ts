// tessera doctor: reports what this machine offers, checks that its results are correct, and gives advice about what is
// missing.
import { availableParallelism, freemem, totalmem } from "node:os";
import process from "node:process";
import { Command } from "commander";
import { formatBytes } from "../../data/index.ts";
import { loadSharp } from "../../data/pictures/sharp.ts";
import { WIDE_FLAGS } from "../../src/backends/wasm/v8_flags.ts";
import { fusesMultiplyAdd } from "../../src/backends/wasm/wide.ts";
import { currentBackend, device } from "../../src/index.ts";
import { whyNotFast } from "../fast.ts";
import { describeProcessor, describeRuntime } from "../machine.ts";
import { messageOf } from "../messages.ts";
import { print } from "../print.ts";
import type { Finding } from "./finding.ts";
import { gpu } from "./gpu.ts";
import { checkEngine } from "./known_convolution.ts";

const examples = `
Examples:
  $ tessera doctor

The exit code is 1 if something that Tessera needs is missing.`;

export function doctorCommand(): Command {
  return new Command("doctor").description("check this machine and give advice").addHelpText(
    "after",
    examples,
  )
    .action(async () => {
      const findings = [
        { name: "runtime", found: describeRuntime() },
        processor(),
        simd(),
        ...sharedMemory(),
        ...await engine(),
        ...await gpu(),
        memory(),
        await pictures(),
      ];
      for (const { name, found, advice, isVital } of findings) {
        const mark = advice === undefined ? "ok  " : isVital ? "FAIL" : "note";
        print(`${mark} ${name.padEnd(14)} ${found}`);
        if (advice !== undefined) print(`     ${"".padEnd(14)} ${advice}`);
      }
      if (findings.some(({ advice, isVital }) => advice !== undefined && isVital)) process.exitCode = 1;
    });
}

function processor(): Finding {
  const name = "processor", found = describeProcessor();
  return availableParallelism() > 1
    ? { name, found }
    : { name, found, advice: "training on one core is very slow" };
}

/** A module with a function that copies a byte to all lanes of a vector. It is invalid without 128-bit SIMD. */
const simdModule = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // magic and version
  ...[1, 5, 1, 0x60, 0, 1, 0x7b], // type: () -> v128
  ...[3, 2, 1, 0], // one function of this type
  ...[10, 8, 1, 6, 0, 0x41, 0, 0xfd, 0x0f, 0x0b], // i32.const 0, i8x16.splat, end
);

function simd(): Finding {
  const name = "SIMD";
  if (WebAssembly.validate(simdModule)) return { name, found: "128-bit WebAssembly SIMD" };
  return { name, found: "none", isVital: true, advice: "update the runtime: deno upgrade, or bun upgrade" };
}

function sharedMemory(): Finding[] {
  const name = "shared memory";
  try {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
    if (memory.buffer instanceof SharedArrayBuffer) return [{ name, found: "up to 4 GiB, with threads" }];
  } catch {
    // reported below
  }
  const advice = "4 GiB of address space are needed: raise ulimit -v or the container's limit";
  return [{ name, found: "not available", isVital: true, advice }];
}

/** Starts the CPU's engine and checks that its results are correct. */
async function engine(): Promise<Finding[]> {
  try {
    await device("cpu");
    const backend = currentBackend();
    const findings: Finding[] = [];
    if ("threads" in backend && "relaxedSimd" in backend && "wide" in backend) {
      findings.push({ name: "threads", found: `${backend.threads} (TESSERA_THREADS sets the number)` });
      findings.push(vectors(Boolean(backend.wide)));
      findings.push(multiplyAdd(Boolean(backend.relaxedSimd)));
    }
    return [...findings, { ...await checkEngine("engine"), isVital: true }];
  } catch (error) {
    return [{
      name: "engine",
      found: messageOf(error),
      isVital: true,
      advice: "see SIMD and shared memory above",
    }];
  }
}

function vectors(isWide: boolean): Finding {
  const name = "vectors", found = isWide ? "256 bits" : "128 bits";
  const why = isWide || WIDE_FLAGS.length === 0 ? "" : whyNotFast();
  return why === ""
    ? { name, found }
    : { name, found, advice: `kernels take twice as long as with 256: ${why}` };
}

/** An engine that has the instruction may still round the product before it adds, as Bun's does on x64. */
function multiplyAdd(hasInstruction: boolean): Finding {
  const name = "relaxed SIMD";
  if (!hasInstruction) {
    return { name, found: "none", advice: "training takes longer; a newer runtime may have it" };
  }
  return {
    name,
    found: fusesMultiplyAdd() ? "fused multiply-add" : "multiply-add, with the product rounded first",
  };
}

function memory(): Finding {
  const found = `${formatBytes(totalmem())}, ${formatBytes(freemem())} free`;
  if (totalmem() >= 4e9) return { name: "memory", found };
  const advice = "fine-tuning f16-16384 at 256x256 needs about 4 GB; small models and encoding need less";
  return { name: "memory", found, advice };
}

async function pictures(): Promise<Finding> {
  try {
    const { sharp: version, vips } = (await loadSharp()).versions;
    return { name: "pictures", found: `sharp ${version}, libvips ${vips}` };
  } catch (error) {
    const [found, advice] = messageOf(error).split(/: (.*)/s);
    return { name: "pictures", found, isVital: true, advice };
  }
}
