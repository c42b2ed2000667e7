// Two hosts on one machine: network namespaces that a pair of virtual network cards joins. It needs root and the program `ip`.
import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** Two hosts, each with an address. */
export interface TwoHosts {
  readonly addresses: readonly [string, string];
  /** A program that takes a host's address and a command, as ssh does, and runs the command on that host. */
  readonly shell: string;
  /** The words that run a command on the first host. */
  readonly onFirst: readonly string[];
  /** Takes the second host's network away. */
  cut(): void;
  /** Removes both, with all that runs on them. */
  remove(): void;
}

function ip(...words: string[]): string | null {
  const { status, stderr, error } = spawnSync("ip", words, { encoding: "utf8" });
  return status === 0 ? null : (stderr || String(error)).trim();
}

/** Waits until the network card of a host has a link, which the kernel says up to a second after both ends are up. */
function hasLink(name: string): boolean {
  for (const end = Date.now() + 10_000; Date.now() < end;) {
    const { stdout } = spawnSync("ip", ["-n", name, "link", "show", "dev", name, "up"], { encoding: "utf8" });
    if (/state UP/.test(stdout ?? "")) return true;
    spawnSync("sleep", ["0.05"]);
  }
  return false;
}

let made = 0; // names and networks that were just removed are not free at once

/** Makes two hosts. @returns why not, if this machine does not allow it */
export function twoHosts(folder: string): TwoHosts | string {
  const tag = `t${process.pid % 100_000}${made++}`, names = [`${tag}a`, `${tag}b`] as const;
  const net = `10.${(process.pid + 101 * made) % 250}.${Math.floor(process.pid / 250) % 250}`;
  const addresses = [`${net}.1`, `${net}.2`] as const;
  const remove = () =>
    names.forEach((name) => {
      const { stdout } = spawnSync("ip", ["netns", "pids", name], { encoding: "utf8" });
      for (const pid of (stdout ?? "").split("\n").filter(Boolean)) {
        spawnSync("kill", ["-9", pid]); // a daemon of a launcher waits for ever for a host that it cannot reach
      }
      ip("netns", "del", name);
    });
  const commands = [
    ...names.map((name) => ["netns", "add", name]),
    ["link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1]],
    ...names.flatMap((name, i) => [
      ["-n", name, "addr", "add", `${addresses[i]}/24`, "dev", name],
      ["-n", name, "link", "set", name, "up"],
      ["-n", name, "link", "set", "lo", "up"],
    ]),
  ];
  for (const command of commands) {
    const problem = ip(...command);
    if (problem === null) continue;
    remove();
    return `ip ${command.join(" ")}: ${problem}`;
  }
  if (!names.every(hasLink)) {
    remove();
    return "the two hosts have no link after 10 s";
  }
  const shell = join(folder, "shell.sh"); // ssh's options come before the host
  const cases = names.map((name, i) => `${addresses[i]}) space=${name};;`).join(" ");
  writeFileSync(
    shell,
    `#!/bin/sh\nwhile [ "\${1#-}" != "$1" ]; do shift; done\ncase "$1" in ${cases} *) exit 1;; esac\nshift\n` +
      'exec ip netns exec $space sh -c "$*"\n',
  );
  chmodSync(shell, 0o755);
  return {
    addresses,
    shell,
    onFirst: ["ip", "netns", "exec", names[0]],
    cut: () => void ip("-n", names[1], "link", "set", names[1], "down"),
    remove,
  };
}
