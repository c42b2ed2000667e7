// Optional packages. Each is imported when it is first needed, and has to be installed only then.

/** The versions that Tessera is tested with; package.json has the same. */
export const versions = {
  "@huggingface/hub": "2.17.5",
  "@vladmandic/face-api": "1.7.15",
  "gpu.js": "2.24.1",
  "sharp": "0.35.5",
  "webgpu": "0.6.2",
} as const;

/**
 * Imports an optional package. Its name is not written as a literal in `import()`, because Deno would then download it for
 * every user and bundlers would try to include it. If it is not installed, Deno downloads it now.
 *
 * @param use what needs the package, for the error message
 * @throws an error of one line that says how to install it
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
