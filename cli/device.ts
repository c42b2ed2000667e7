// The option --device, which chooses where a command computes.
import { type Command, Option } from "commander";
import { currentBackend, device, type DeviceName } from "../src/index.ts";
import { printAside } from "./print.ts";
import { typed } from "./typed.ts";

/** Adds the option --device to a command, and opens the device before the command runs. */
export function withDevice(command: Command): Command {
  const option = new Option("--device <name>", "where to compute; auto uses a GPU if there is one")
    .choices(["cpu", "webgpu", "auto"]).default("cpu");
  return command.addOption(option).hook("preAction", async () => {
    const { device: name } = command.opts<{ device: DeviceName }>();
    await device(name);
    if (name !== "cpu") printAside(describeDevice(name));
  });
}

function describeDevice(asked: DeviceName): string {
  const { name, description } = currentBackend();
  const why = asked === "auto" && name === "cpu" ? ` (no GPU; ${typed(["doctor"])} shows why)` : "";
  return `device: ${description}${why}`;
}
