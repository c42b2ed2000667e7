// Environment variables and permissions, in every runtime.

/** The part of Deno's namespace that says what is allowed. */
interface Deno {
  readonly permissions: { querySync(descriptor: object): { readonly state: string } };
}

/**
 * Returns an environment variable; undefined if it is not set, if there are none (in web pages), or if it may not be read
 * (in Deno without --allow-env, where a terminal is not asked either).
 */
export function variable(name: string): string | undefined {
  const { Deno } = globalThis as { Deno?: Deno };
  const isHidden = Deno && Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted";
  return isHidden ? undefined : globalThis.process?.env?.[name];
}

/**
 * How many cores this process may use: those that the system lets it, but no more than Slurm's --cpus-per-task has reserved, to
 * which a cluster need not bind processes.
 */
export function usableCores(): number {
  const reserved = Number(variable("SLURM_CPUS_PER_TASK"));
  const cores = navigator.hardwareConcurrency;
  return reserved >= 1 ? Math.min(cores, Math.floor(reserved)) : cores;
}

/** A permission of Deno. */
export interface Permission {
  readonly name: "read" | "write" | "run" | "sys" | "net";
  /** For "sys": the function. */
  readonly kind?: string;
  /** For "net": the host. */
  readonly host?: string;
}

/** Whether Deno gave a permission, for everything. Other runtimes have no permissions. Nobody is asked. */
export function isGranted(permission: Permission): boolean {
  const { Deno } = globalThis as {
    Deno?: { permissions: { querySync(asked: Permission): { state: string } } };
  };
  return Deno === undefined || Deno.permissions.querySync(permission).state === "granted";
}
