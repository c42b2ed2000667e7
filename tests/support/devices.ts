// The same tests on every device that this machine has.
import { afterAll, beforeAll, describe, setDefaultTimeout, test } from "bun:test";
import { asyncScope, device, type DeviceName, tensor } from "../../src/index.ts";

/** Devices beside the CPU, and why those that this machine lacks cannot be had. */
export const others: readonly DeviceName[] = ["gpujs", "webgpu"];
const missing = new Map<DeviceName, string>();
for (const name of others) await device(name).catch((error: Error) => missing.set(name, error.message));
const hasF16 = !missing.has("webgpu") && (await device("webgpu")).hasF16;
await device("cpu");

/** The same tests for every device. One that this machine lacks is named as a skipped test. */
export function describeDevices(
  name: string,
  group: (device: DeviceName) => void,
  devices: readonly DeviceName[] = ["cpu", ...others],
): void {
  setDefaultTimeout(300_000); // Bun gives a test five seconds, too few for a driver that compiles on a busy machine
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

/** Tests for a GPU that stores 16-bit floats. Deno's lavapipe does, SwiftShader (Bun) does not. */
export function describeF16(name: string, group: () => void): void {
  if (hasF16) describeDevices(name, group, ["webgpu"]);
  else test.skip(`${name}: no GPU with the feature shader-f16`, () => {});
}
