// Packages that only some need: they are imported when something first needs them, and need not be installed before.

/** With the versions that Tessera is tested with, which package.json names too. */
export const versions = { "gpu.js": "2.24.1", "sharp": "0.35.5", "webgpu": "0.6.2" } as const;

/**
 * Imports such a package. Its name is not written into `import()`, because Deno would then download it for everybody and
 * bundlers would look for it. In Deno it is downloaded now, if it is not installed.
 *
 * @param use what needs it, as an error says it
 * @throws in one line that says how to install it
 */
export async function optionalPackage<T>(name: keyof typeof versions, use: string): Promise<T> {
  const isDeno = "Deno" in globalThis;
  const specifiers = isDeno ? [name, `npm:${name}@${versions[name]}`] : [name];
  let reason: unknown;
  for (const specifier of specifiers) {
    try {
      return await import(/* @vite-ignore */ specifier) as T;
    } catch (error) {
      reason = error;
    }
  }
  const way = isDeno
    ? `deno add npm:${name}, and allow --allow-ffi, --allow-env and --allow-read`
    : `npm install ${name}, or bun add ${name}`;
  const { code, message = String(reason) } = reason as { code?: string; message?: string };
  const why = code === "ERR_MODULE_NOT_FOUND" ? "" : ` (${message.trim().split("\n")[0]})`;
  throw new Error(`${use} needs the package ${name}: ${way}${why}`, { cause: reason });
}
