// What goes wrong when a checkpoint is fetched from a hub: each fault gives one clear line, and leaves nothing behind.
import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { checkpointBytes, hubFixture, sha256 } from "../../support/hub.ts";
import type { Asked, Fault } from "../../support/hub_server.ts";

setDefaultTimeout(60_000);

const { server, home, reset, files, fetched, problem, faults, ranges, close } = await hubFixture();
afterAll(close);
beforeEach(reset);

const data = await checkpointBytes("hub", 100_000), hash = sha256(data);
const config = JSON.stringify({ z_channels: 256 });
server.add("o/n", { "config.json": config, "model.safetensors": data });
const at = (path: string) => join(home, path);

describe("errors", () => {
  const api = (fault: Fault) => ({ isStore, path }: Asked) =>
    !isStore && path.startsWith("/api/") ? fault : null;

  test("of the content", async () => {
    faults({ spoil: true });
    expect(await problem("hf:o/n")).toMatch(
      /^model\.safetensors of hf:o\/n: what arrived is not the file that the server describes \(its hash is [0-9a-f]{12}\.\.\., expected [0-9a-f]{12}\.\.\.\), so it was deleted; try again/,
    );
    expect(await files()).toEqual((await files()).filter((path) => /config|[0-9a-f]{40}$/.test(path)));
    server.fault = ({ path }) => path.endsWith("config.json") ? { spoil: true } : null;
    await reset();
    server.fault = ({ path }) => path.endsWith("config.json") ? { spoil: true } : null;
    expect(await problem("hf:o/n")).toContain("config.json of hf:o/n: what arrived is not the file");
    await reset();
    faults({ status: 200, headers: { "content-length": `${data.length - 1}` }, body: data.slice(1) });
    expect(await problem("hf:o/n")).toMatch(/has 400\d+ bytes instead of 400\d+; try again$/);
    // it is noticed at once that this is no checkpoint
    server.add("o/page", { "model.ckpt": `<!DOCTYPE html>${" ".repeat(300_000)}` });
    expect(await problem("hf:o/page")).toContain("hf:o/page: this is a web page (HTML), not a checkpoint");
    expect(await files("incomplete")).toEqual([]);
  });

  test("of access", async () => {
    expect(await problem("hf:o/nothing")).toBe(
      "hf:o/nothing: HUB has no repository o/nothing, or it is private; check the name, or set HF_TOKEN",
    );
    expect(await problem("hf:o/n@v9")).toBe(
      "hf:o/n@v9: the repository has no revision v9; leave out the part after @ for the newest",
    );
    expect(await problem("hf:o/n/last.ckpt")).toBe(
      "hf:o/n/last.ckpt: the repository has no checkpoint last.ckpt; it has model.safetensors",
    );
    server.add("o/gated", { "model.safetensors": data }).token = "hf_right";
    expect(await problem("hf:o/gated")).toBe(
      "hf:o/gated: the hub refuses access (401); accept the conditions at http://HUB/o/gated, and set HF_TOKEN to a token of " +
        "yours (http://HUB/settings/tokens)",
    );
    process.env.HF_TOKEN = "hf_wrong";
    expect(await problem("hf:o/gated")).toBe(
      "hf:o/gated: the hub does not accept the token; set HF_TOKEN to a valid one, or unset it",
    );
    server.fault = api({ status: 403 });
    expect(await problem("hf:o/n")).toContain(
      "accept the conditions at http://HUB/o/n with the account of the token",
    );
    server.fault = () => null;
    process.env.HF_TOKEN = " hf_right\n";
    expect(sha256(await readFile(await fetched("hf:o/gated")))).toBe(hash);
    // the token goes to the hub, and not to the server of large files
    const sent = server.log.filter(({ path }) => path.includes("gated")).map(({ token }) => token);
    expect(new Set(sent.slice(-3))).toEqual(new Set(["hf_right"]));
    expect(server.log.filter(({ isStore }) => isStore).map(({ token }) => token)).toEqual([null]);
    // it may also be in the file that `hf auth login` writes
    await reset();
    await writeFile(at("token"), "hf_right");
    await fetched("hf:o/gated");
  });

  test("of a busy or broken server", async () => {
    server.fault = api({ status: 429, headers: { "retry-after": "120" } });
    expect(await problem("hf:o/n")).toBe(
      "hf:o/n is not in HOME/hub, and HUB has too many requests from here (429); try again in 120 s",
    );
    server.fault = api({ status: 502, headers: { "retry-after": "soon" } });
    expect(await problem("hf:o/n")).toContain("HUB has a problem of its own (502); try again later");
    for (const body of ["<html>", "[]", "null", '{"sha": "../../x"}']) {
      server.fault = api({ status: 200, body });
      expect(await problem("hf:o/n")).toMatch(
        /^hf:o\/n: the answer of http:\/\/HUB .*; check HF_ENDPOINT and the connection$/,
      );
    }
    server.fault = api({ status: 418 });
    expect(await problem("hf:o/n")).toMatch(
      /^hf:o\/n: HUB answered 418.*, which was not expected; try again later$/,
    );
    // one that asks for a short pause gets it
    const list: (Fault | null)[] = [{ status: 429, headers: { "retry-after": "0" } }];
    server.fault = ({ isStore }) => isStore ? null : list.shift() ?? null;
    await fetched("hf:o/n");
    await reset();
    faults({ status: 500 }, { status: 429, headers: { "retry-after": "0" } });
    await fetched("hf:o/n");
    expect(ranges().length).toBe(3);
  });

  test("of lists that are made to do harm", async () => {
    const tree = (list: unknown) => {
      server.fault = ({ path }) =>
        path.includes("/tree/") ? { status: 200, body: JSON.stringify(list) } : null;
    };
    const entry = (path: unknown) => ({ type: "file", path, size: 5, oid: "0".repeat(40) });
    tree([entry("../../../../escaped.ckpt"), entry("/etc/x.ckpt"), entry("a\\..\\x.ckpt")]);
    expect(await problem("hf:o/n")).toContain("hf:o/n: this repository is empty");
    tree([entry("\x1b]0;x\x07.ckpt"), entry("b.ckpt")]);
    expect(await problem("hf:o/n")).not.toContain("\x1b");
    for (const bad of [{ ...entry("a.ckpt"), oid: "../x" }, { ...entry("a.ckpt"), size: "5" }, entry(7)]) {
      tree([bad]);
      expect(await problem("hf:o/n")).toContain("lists a file without name, size or hash");
    }
    expect(await files()).toEqual([]);
  });

  test("of variables and folders", async () => {
    process.env.HF_ENDPOINT = "huggingface.co";
    expect(await problem("hf:o/n")).toContain(
      'HF_ENDPOINT is "huggingface.co", expected an address such as https://',
    );
    await reset();
    process.env.HF_TOKEN = "hf_\u00e9";
    expect(await problem("hf:o/n")).toContain("the token in HF_TOKEN has characters that no token has");
    await reset();
    await writeFile(at("file"), "");
    process.env.HF_HUB_CACHE = at("file");
    expect(await problem("hf:o/n")).toContain(
      "(ENOTDIR): its folder is a file; choose another path, or set HF_HUB_CACHE",
    );
    await reset();
    process.env.HF_HUB_CACHE = "$HF_HOME/elsewhere";
    expect(await fetched("hf:o/n")).toContain(join(home, "elsewhere", "models--o--n"));
  });
});
