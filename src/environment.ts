// Environment variables, in every runtime.

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
