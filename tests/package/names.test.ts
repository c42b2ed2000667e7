// The name, the version and the entries of the package, which several files have to give alike.
import { expect, test } from "bun:test";
import deno from "../../deno.json" with { type: "json" };
import npm from "../../package.json" with { type: "json" };
import { versions } from "../../src/packages.ts";
import { tessera } from "../support/commands.ts";

test("deno.json and package.json give one name, one version and the same entries", () => {
  expect([npm.name, npm.version, npm.license]).toEqual([deno.name, deno.version, deno.license]);
  const built = Object.entries(deno.exports).map((
    [name, path],
  ) => [name, path.replace(/^\.\/(.+)\.ts$/, "./dist/$1.js")]);
  expect(npm.exports).toEqual(Object.fromEntries(built) as typeof npm.exports);
  expect(Object.values(npm.bin)).toEqual(["dist/cli.js"]);
  expect("sideEffects" in npm).toBe(false); // bundlers would drop what registers the opener of paths
});

test("the command tells the version", async () => {
  expect(await tessera("--version")).toEqual({ code: 0, out: `${deno.version}\n`, err: "" });
});

test("optional packages have one version", () => {
  const { "gpu.js": gpu, webgpu } = npm.peerDependencies, optional = npm.optionalDependencies;
  expect({ ...versions }).toEqual({ "gpu.js": gpu, webgpu, ...optional } as typeof versions);
  for (const [name, version] of Object.entries(optional)) { // where Deno does not look
    expect(deno.imports).toMatchObject({ [name]: `npm:${name}@${version}` });
  }
  expect(npm.devDependencies).toMatchObject(npm.peerDependencies);
});
