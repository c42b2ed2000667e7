// Commands in messages, as the call was typed.
import { expect, test } from "bun:test";
import { join } from "node:path";
import process from "node:process";
import { type Call, typed } from "../../cli/typed.ts";
import { ended, start } from "../support/commands.ts";

const here = (...names: string[]) => join(process.cwd(), ...names);
const call = (script: string, more: Partial<Call> = {}): Call => ({
  runtime: "deno",
  script,
  isNpx: false,
  ...more,
});

test("names the program in the way that it was started", () => {
  const cases: [Call, string][] = [
    [call(here("cli.ts")), "deno run -A cli.ts"],
    [call(here("cli.ts"), { isNpx: true }), "npx --yes deno run -A cli.ts"],
    [call(here("cli.ts"), { runtime: "bun" }), "bun cli.ts"],
    [call(here("cli.ts"), { name: "tessera" }), "tessera"],
    [call(here("dist", "cli.js"), { runtime: "node" }), `node ${join("dist", "cli.js")}`],
    [call(join("/", "elsewhere", "cli.ts"), { runtime: "bun" }), `bun ${join("/", "elsewhere", "cli.ts")}`],
    [call("https://jsr.io/@tessera/vqgan/0.1.0/cli.ts"), "deno run -A jsr:@tessera/vqgan/cli"],
    [call(join("/", "usr", "bin", "tessera"), { runtime: "node" }), "tessera"],
    [call(here("node_modules", ".bin", "tessera"), { runtime: "node", isNpx: true }), "npx tessera"],
    [
      call(join("/", "home", ".npm", "_npx", "0a", "node_modules", ".bin", "tessera"), { isNpx: true }),
      "npx @tessera/vqgan",
    ],
  ];
  for (const [given, expected] of cases) {
    expect(typed(["inspect", "a.ckpt"], given)).toBe(`${expected} inspect a.ckpt`);
  }
});

test("quotes what a shell would take apart", () => {
  expect(typed(["finetune", "--resume", "my runs/it's"], call("", { name: "tessera" }))).toBe(
    "tessera finetune --resume 'my runs/it'\\''s'",
  );
});

test("a hint is a command that works where it is printed", async () => {
  const { code, err } = await ended(start("encode"));
  const runtime = process.versions.bun ? "bun" : "deno run -A";
  expect([code, err]).toEqual([
    2,
    expect.stringMatching(new RegExp(`see ${runtime} .*cli\\.ts encode --help\\n$`)),
  ]);
});
