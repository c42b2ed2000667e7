// tessera watch: what its server gives and refuses, and the command.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serveRun } from "../../../cli/watch/server.ts";
import type { RunReport } from "../../../train/index.ts";
import { ended, start, tessera } from "../../support/commands.ts";
import { shownRun, trainLine } from "../../support/shown_run.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-watch-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Response {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** A request as it is written, which fetch would tidy up. */
function ask(
  address: string,
  path: string,
  headers: Record<string, string> = {},
  method = "GET",
): Promise<Response> {
  const { port } = new URL(address);
  return new Promise((resolve, reject) => {
    const request = get({ host: "127.0.0.1", port, path, headers, method, agent: false }, (answer) => {
      let body = "";
      answer.setEncoding("latin1");
      answer.on("data", (part) => body += part);
      answer.on("end", () => {
        resolve({ status: answer.statusCode!, type: answer.headers["content-type"] ?? "", body });
      });
    });
    request.on("error", reject);
  });
}

/** The names, sizes and dates of all files. */
async function stateOf(path: string): Promise<string[]> {
  const names = await readdir(path, { recursive: true });
  return await Promise.all(
    names.sort().map(async (name) => {
      const { size, mtimeMs } = await stat(join(path, name));
      return `${name} ${size} ${mtimeMs}`;
    }),
  );
}

describe("the server", () => {
  test("gives the page, its data, what is new in it, and the sheets, and writes nothing", async () => {
    const run = await shownRun(folder, "given"), before = await stateOf(run.path);
    const server = await serveRun(run.path, 0);
    try {
      const page = await ask(server.address, "/");
      expect([page.status, page.type]).toEqual([200, "text/html; charset=utf-8"]);
      expect(page.body).toContain("<title>given");
      const data = async (version: string) => await ask(server.address, `/data.json?version=${version}`);
      const first = JSON.parse((await data("")).body) as { report: RunReport; version: string };
      expect([first.report.step, first.report.sheets.length]).toEqual([40, 6]);
      expect((await data(first.version)).status).toBe(204);
      const sheet = await ask(server.address, `/${first.report.sheets[0].src}`);
      expect([sheet.status, sheet.type]).toEqual([200, "image/png"]);
      expect(sheet.body).toBe(await readFile(join(run.path, "images", "step-000000.png"), "latin1"));
      expect(await stateOf(run.path)).toEqual(before);

      await run.addMetrics(trainLine(41));
      const next = JSON.parse((await data(first.version)).body) as { report: RunReport; version: string };
      expect(next.report.step).toBe(41);
      expect(next.version).not.toBe(first.version);
      await run.rewind(20);
      expect((JSON.parse((await data(next.version)).body) as { report: RunReport }).report.sheets.length)
        .toBe(4);
    } finally {
      await server.close();
    }
  });

  test("gives nothing else, and only to this machine's own pages", async () => {
    const { path } = await shownRun(folder, "refused"), server = await serveRun(path, 0);
    try {
      for (
        const other of [
          ...["/config.json", "/images/", "/images/step-000999.png", "/images/..%2fconfig.json"],
          ...[
            "/images/../config.json",
            "/images/step-000000.json",
            "//evil/",
            "/checkpoints/last.safetensors",
          ],
        ]
      ) expect([other, (await ask(server.address, other)).status]).toEqual([other, 404]);
      expect((await ask(server.address, "/", { host: "evil.example" })).status).toBe(403);
      expect((await ask(server.address, "/data.json", {}, "POST")).status).toBe(405);
    } finally {
      await server.close();
    }
  });
});

describe("the command", () => {
  test("says where the page is, and ends with Ctrl-C", async () => {
    const { path } = await shownRun(folder, "command"), child = start("watch", path), end = ended(child);
    let out = "";
    const address = await new Promise<string>((resolve) =>
      child.stdout!.on("data", (part) => {
        out += part;
        const [found] = /http:\/\/\S+/.exec(out) ?? [];
        if (found) resolve(found);
      })
    );
    expect((await ask(address, "/")).status).toBe(200);
    child.kill("SIGINT");
    const { code, err } = await end;
    expect([code, err]).toEqual([130, ""]);
  });

  test("refuses what is no run, and a port that is in use", async () => {
    expect((await tessera("watch", join(folder, "none"))).err).toBe(
      `tessera: ${join(folder, "none")}: there is no such folder\n`,
    );
    const { code, err } = await tessera("watch", folder);
    expect(code).toBe(2);
    expect(err).toContain("is no run: it has neither config.json nor metrics.jsonl");
    const { path } = await shownRun(folder, "used");
    expect((await tessera("watch", join(path, "config.json"))).err).toContain(
      "is a file: give the folder of a run",
    );
    expect((await tessera("watch", folder, "--port", "99999")).err).toContain("a port from 1 to 65535");
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    expect((await tessera("watch", path, "--port", String(port))).err).toBe(
      `tessera: port ${port} is in use: choose another with --port, or leave it out for a free one\n`,
    );
    await new Promise((resolve) => other.close(resolve));
  });
});
