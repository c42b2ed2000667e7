// Starts programs below the launchers of MPI that this machine has, for the tests of several ranks.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { TwoHosts } from "./netns.ts";
import type { Ended } from "./own_process.ts";

/** A launcher. */
export interface Launcher {
  readonly name: string;
  /** The words before the program that start it in `n` processes. */
  readonly words: (n: number) => string[];
  /** The words that start it in one process on each of two hosts (netns.ts). */
  readonly onHosts: (hosts: TwoHosts) => string[];
}

const environment = { ...process.env, NO_COLOR: "1", DEBUG: "0", TESSERA_THREADS: "1" };
const openMpi = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"];

/** Open MPI's options for two hosts that only TCP joins. */
function openMpiHosts({ addresses, shell }: TwoHosts): string[] {
  const network = addresses[0].replace(/\d+$/, "0/24");
  const settings = {
    plm_rsh_agent: shell,
    btl: "tcp,self",
    pml: "ob1",
    btl_tcp_if_include: network,
    oob_tcp_if_include: network,
  };
  const words = Object.entries(settings).flatMap(([name, value]) => ["--mca", name, value]);
  return [...openMpi, "--host", addresses.join(), ...words, "-n", "2"];
}

/** MPICH's options for the same. */
function mpichHosts({ addresses, shell, onFirst }: TwoHosts): string[] {
  const link = ["-iface", onFirst[3], "-env", "UCX_TLS", "tcp,self"];
  return ["-launcher", "rsh", "-launcher-exec", shell, "-hosts", addresses.join(), ...link, "-n", "2"];
}

/** The ways to a launcher: the names of its program, how it names itself, and its options. */
const known = [
  {
    name: "Open MPI",
    programs: ["mpirun.openmpi", "mpirun"],
    says: /Open MPI|OpenRTE/,
    options: openMpi,
    forHosts: openMpiHosts,
  },
  {
    name: "MPICH",
    programs: ["mpirun.mpich", "mpiexec.hydra", "mpirun"],
    says: /HYDRA/,
    options: [],
    forHosts: mpichHosts,
  },
];

/** The launchers that are there, and the names of those that are not. */
export const launchers: Launcher[] = [], missing: string[] = [];
for (const { name, programs, says, options, forHosts } of known) {
  const program = programs.find((one) =>
    says.test(spawnSync(one, ["--version"], { encoding: "utf8" }).stdout ?? "")
  );
  if (process.platform !== "linux" || program === undefined) missing.push(name);
  else {
    launchers.push({
      name,
      words: (n) => [program, ...options, "-n", String(n)],
      onHosts: (hosts) => [...hosts.onFirst, program, ...forHosts(hosts)],
    });
  }
}

/** One launcher for tests that take long: another one in Bun than in Deno, so that both are tried. */
export const oneLauncher: Launcher | undefined = launchers.at(process.versions.bun ? -1 : 0);

/** The words that run a script of this folder. */
export function scriptWords(script: string): string[] {
  const flags = process.versions.bun ? [] : ["run", "-A", "--no-check"];
  return [process.execPath, ...flags, fileURLToPath(new URL(script, import.meta.url))];
}

/** A program that runs. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended & { readonly seconds: number }>;
  /** Resolves when the output has such a text. @throws Error with the output if the program ends before */
  printed(text: RegExp): Promise<RegExpExecArray>;
}

/** Starts a program. It is killed after `seconds`. */
export function start(words: readonly string[], env: object = {}, seconds = 120): Running {
  const [program, ...rest] = words, begun = performance.now();
  const child = spawn(program, rest, { env: { ...environment, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let out = "", err = "";
  const listeners = new Set<() => void>();
  const told = () => listeners.forEach((tell) => tell());
  child.stdout.on("data", (part) => (out += part, told()));
  child.stderr.on("data", (part) => (err += part, told()));
  const timer = setTimeout(() => child.kill("SIGKILL"), 1000 * seconds);
  const ended = new Promise<Ended & { seconds: number }>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, out, err, seconds: (performance.now() - begun) / 1000 });
      told();
    });
  });
  const printed = (text: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const found = text.exec(out);
        if (!found && child.exitCode === null && child.signalCode === null) return;
        listeners.delete(look);
        if (found) resolve(found);
        else reject(new Error(`${words.join(" ")} ended without ${text}:\n${out}\n${err}`));
      };
      listeners.add(look);
      look();
    });
  return { child, ended, printed };
}

/** Runs a program to its end. @throws Error with what it printed if it does not end well */
export async function outputOf(words: readonly string[], env: object = {}): Promise<string> {
  const { code, signal, out, err } = await start(words, env, 280).ended;
  if (code === 0) return out;
  throw new Error(`${words.join(" ")} ended with ${code ?? signal}:\n${out}\n${err.slice(-4000)}`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Waits until none of the processes is there: a launcher may end before them. @returns whether that was so within `seconds` */
export async function allEnded(pids: readonly number[], seconds: number): Promise<boolean> {
  for (let i = 0; i < 10 * seconds && pids.some(isAlive); i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return !pids.some(isAlive);
}
