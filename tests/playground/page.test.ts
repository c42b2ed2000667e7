// The page of the playground as a whole: on a host that sends no headers and below a path, offline, on a phone, and how large
// it is.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { shippedModel } from "../../playground/app.ts";
import { buildPlayground } from "../../playground/build.ts";
import { browsers } from "./browsers.ts";
import { isReady, removeSite, served, site, stop } from "./play.ts";

setDefaultTimeout(120_000);
afterAll(removeSite);

const status = `document.querySelector("#status").textContent`;

for (const { name, missing, withTab } of browsers) {
  describe(`the page in ${name}`, () => {
    if (missing !== null) {
      test.skip(`needs ${missing}`, () => {});
      return;
    }

    test("a host without headers, below a path, then without a network", async () => {
      await served((address, server) =>
        withTab(address, async (tab) => {
          await tab.until(isReady);
          const shares = await tab.evaluate(
            "crossOriginIsolated && typeof SharedArrayBuffer !== 'undefined'",
          );
          const threads = await tab.evaluate<number>("Math.min(16, navigator.hardwareConcurrency)");
          if (shares) expect(await tab.evaluate(status)).toContain(`${threads} thread`);
          await tab.until(`navigator.serviceWorker.controller`);
          stop(server);
          await tab.open(address);
          await tab.until(isReady);
          await tab.open(`${address}book/5-codebook.html`);
          expect(await tab.evaluate(`document.querySelectorAll("math").length`)).toBeGreaterThan(2);
        }), { headers: {}, prefix: "/some/where/" });
    });

    test("fits a phone, and every panel has two sentences, a chapter and what a screen reader needs", async () => {
      await served((address) =>
        withTab(address, async (tab) => {
          await tab.look(390, 844);
          await tab.until(isReady);
          await tab.evaluate(
            `document.querySelectorAll("details").forEach((details) => details.open = true)`,
          );
          expect(await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
          const panels = await tab.evaluate<{ title: string; sees: string; href: string }[]>(`
            [...document.querySelectorAll("section")].map((section) => ({
              title: section.querySelector("h2").textContent,
              sees: section.querySelector(".sees").firstChild.textContent,
              href: section.querySelector(".chapter").getAttribute("href"),
            }))`);
          expect(panels.length).toBeGreaterThan(3);
          for (const { title, sees, href } of panels) {
            expect([title, sees.match(/[.!?]( |$)/g)?.length]).toEqual([title, 2]);
            expect([title, statSync(join(site(), href)).isFile()]).toEqual([title, true]);
          }
          const unnamed = await tab.evaluate<string[]>(`
            [...document.querySelectorAll("canvas:not([role=presentation]), input, button, select")].filter((element) => {
              const words = element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent;
              return words.trim() === "";
            }).map((element) => element.outerHTML)`);
          expect(unnamed).toEqual([]);
          expect(tab.errors).toEqual([]);
        })
      );
    });
  });
}

test("the page without the model and the book has at most 250 KB", () => {
  const files = readdirSync(site(), { recursive: true, encoding: "utf8" })
    .filter((file) =>
      file !== shippedModel && !file.startsWith("book") && statSync(join(site(), file)).isFile()
    );
  expect(files.length).toBeGreaterThan(6);
  const sizes = files.map((file) => gzipSync(readFileSync(join(site(), file))).length);
  expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(250_000);
});

test("a folder with something else is left alone", () => {
  const folder = mkdtempSync(join(tmpdir(), "tessera-other-"));
  try {
    writeFileSync(join(folder, "mine.txt"), "mine");
    expect(() => buildPlayground(folder)).toThrow("holds something other than a playground");
    expect(readdirSync(folder)).toEqual(["mine.txt"]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the command writes the folder, and writes it again", () => {
  const folder = join(mkdtempSync(join(tmpdir(), "tessera-built-")), "site");
  const script = fileURLToPath(new URL("../../playground/serve.ts", import.meta.url));
  const words = [
    ...(process.versions.bun ? [script] : ["run", "-A", "--no-check", script]),
    "--build",
    folder,
  ];
  try {
    for (let time = 0; time < 2; time++) {
      expect(execFileSync(process.execPath, words, { encoding: "utf8" })).toContain("holds the playground");
      expect(readdirSync(folder)).toContain("index.html");
    }
  } finally {
    rmSync(join(folder, ".."), { recursive: true, force: true });
  }
});
