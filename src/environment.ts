// The environment's variables, from wherever there are some.

/**
 * A variable of the environment, undefined where it is not set, where there are none (in web pages), and where they may
 * not be read (in Deno without --allow-env).
 */
export function variable(name: string): string | undefined {
  try {
    return globalThis.process?.env?.[name];
  } catch {
    return undefined;
  }
}
