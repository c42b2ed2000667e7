// Runs the same tests on every device that this machine has.
import { afterAll, beforeAll, describe, setDefaultTimeout, test } from "bun:test";
import { asyncScope, device, type DeviceName, tensor } from "../../src/index.ts";

/** The devices other than the CPU, and for each that this machine lacks, the reason. */
export const others: readonly DeviceName[] = ["gpujs", "webgpu"];
const missing = new Map<DeviceName, string>();
for (const name of others) await device(name).catch((error: Error) => missing.set(name, error.message));
const hasF16 = !missing.has("webgpu") && (await device("webgpu")).hasF16;
await device("cpu");

/** The same tests for every device. A device that this machine lacks becomes a skipped test. */
export function describeDevices(
  name: string,
  group: (device: DeviceName) => void,
  devices: readonly DeviceName[] = ["cpu", ...others],
): void {
  setDefaultTimeout(300_000); // Bun gives a test five seconds, too few if a driver has to compile on a busy machine
  for (const each of devices) {
    if (missing.has(each)) {
      test.skip(`${name} (${each}): ${missing.get(each)}`, () => {});
      continue;
    }
    describe(`${name} (${each})`, () => {
      beforeAll(async () => void await device(each));
      afterAll(async () => {
        await device(each);
        await asyncScope(() => tensor([0]).floats()); // Deno panics if the GPU is still busy when the process ends
        await device("cpu");
      });
      group(each);
    });
  }
}

/** Tests for a GPU with f16. lavapipe (Deno) has it, SwiftShader (Bun) does not. */
export function describeF16(name: string, group: () => void): void {
  if (hasF16) describeDevices(name, group, ["webgpu"]);
  else test.skip(`${name}: no GPU with the feature shader-f16`, () => {});
}
