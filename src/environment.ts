// Environment variables and permissions, in every runtime.

/**
 * Returns an environment variable; undefined if it is not set, if there are none (in web pages), or if they may not be read
 * (in Deno without --allow-env).
 */
export function variable(name: string): string | undefined {
  try {
    return globalThis.process?.env?.[name];
  } catch {
    return undefined;
  }
}

/** A permission of Deno. */
export interface Permission {
  readonly name: "read" | "write" | "run" | "sys";
  /** For "sys": the function. */
  readonly kind?: string;
}

/** Whether Deno gave a permission, for everything. Other runtimes have no permissions. Nobody is asked. */
export function isGranted(permission: Permission): boolean {
  const { Deno } = globalThis as {
    Deno?: { permissions: { querySync(asked: Permission): { state: string } } };
  };
  return Deno === undefined || Deno.permissions.querySync(permission).state === "granted";
}
