// The page of tessera watch and report.html in headless Chromium: live, by keyboard, light and dark, narrow, and with hostile
// names.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { serveRun } from "../../cli/watch/server.ts";
import { ReportFiles } from "../../train/report/files.ts";
import { browsers, chromium } from "../support/chromium.ts";
import { withTab } from "../support/devtools.ts";
import { reconstructed, shownRun, trainLine } from "../support/shown_run.ts";

setDefaultTimeout(120_000);

const folder = await mkdtemp(join(tmpdir(), "tessera-page-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const text = "document.body.innerText";
const chartTitles = `[...document.querySelectorAll(".chart h3")].map((title) => title.textContent)`;
/** The brightness of the picture that the right side of the frame shows. */
const brightness = `(() => {
  const canvas = document.querySelector(".compare canvas"), pen = canvas.getContext("2d");
  return pen.getImageData(0, 0, canvas.width, canvas.height).data.reduce((sum, value) => sum + value);
})()`;

describe("in a browser", () => {
  if (!chromium) {
    test.skip(`needs one of: ${browsers.join(", ")}`, () => {});
    return;
  }

  test("the page follows a run from its beginning, and when it is rewound", async () => {
    const path = join(folder, "live");
    await mkdir(path);
    await writeFile(join(path, "config.json"), JSON.stringify({ steps: 100 }));
    const server = await serveRun(path, 0);
    try {
      await withTab(server.address, async (tab) => {
        await tab.until(`${text}.includes("not a number yet")`);
        const run = await shownRun(folder, "live");
        await writeFile(join(path, "lock.json"), "{}");
        await tab.until(`${text}.includes("step 40 of 100 (40 %)") && ${brightness} > 0`);
        const shown = await tab.evaluate<string>(text), at40 = await tab.evaluate<number>(brightness);
        expect(shown).toContain("1.6 passes over the pictures");
        expect(shown).toMatch(/about (2 min|1 min|\d+ s) left/);
        expect(shown).toContain("24.00 dB");
        expect(shown).toContain("better: +4.00 dB");
        expect(shown).toContain("always 0: train/disc_loss");
        const titles = await tab.evaluate<string[]>(chartTitles);
        expect(titles).toContain("PSNR in dB, higher is better");
        expect(titles).toContain("<i>new</i> thing"); // as text

        await run.addMetrics(trainLine(60));
        await run.saveSheet("step", 60, [1, 2, 3].map((seed) => reconstructed(seed, 1)));
        await tab.until(`${text}.includes("step 60 of 100") && ${brightness} > ${at40}`);
        await run.rewind(20);
        await tab.until(`${text}.includes("step 20 of 100") && ${brightness} < ${at40}`);
        expect(tab.errors).toEqual([]);
      });
    } finally {
      await server.close();
    }
  });

  test("everything can be done by keyboard", async () => {
    const { path } = await shownRun(folder, "keys"), server = await serveRun(path, 0);
    let isOpen = true;
    try {
      await withTab(server.address, async (tab) => {
        await tab.look(1200, 900);
        await tab.until(`${brightness} > 0`);
        const last = await tab.evaluate<number>(brightness);
        await tab.evaluate(`document.querySelector(".pictures .slider input").focus()`);
        await tab.press("ArrowLeft");
        await tab.until(
          `document.querySelector(".tag.right").textContent === "step 20" && ${brightness} < ${last}`,
        );
        await tab.evaluate(`document.querySelector(".compare input").focus()`);
        await tab.press("Home");
        const cut = `document.querySelector(".compare").style.getPropertyValue("--cut")`;
        expect(await tab.evaluate(cut)).toBe("0%");
        await tab.press("ArrowRight");
        expect(await tab.evaluate(cut)).toBe("1%");

        const chart =
          `[...document.querySelectorAll(".chart")].find((chart) => chart.innerText.startsWith("PSNR"))`;
        expect(await tab.evaluate(`${chart}.querySelector(".plot").getAttribute("aria-label")`)).toContain(
          "kept back: from 20 at step 0 to 24 at step 40.",
        );
        await tab.evaluate(`${chart}.querySelector(".plot").focus()`);
        await tab.press("ArrowLeft");
        const legend = await tab.evaluate<string>(`${chart}.querySelector(".legend").innerText`);
        expect(legend.replace(/\s+/g, " ")).toBe("kept back 22 training pictures 23 step 20");
        await tab.evaluate(`document.querySelectorAll(".strip button")[1].focus()`);
        await tab.press("Enter");
        await tab.until(`document.querySelector(".name").textContent.startsWith("<b>2.png, ")`);
        await server.close();
        isOpen = false;
        await tab.until(`${text}.includes("is tessera watch still running?")`);
      });
    } finally {
      if (isOpen) await server.close();
    }
  });

  test("report.html needs no server, fits a narrow window and is dark where the system is", async () => {
    const { path } = await shownRun(folder, `a <img src=x onerror=alert(1)> & "b"`);
    const page = pathToFileURL(await new ReportFiles(path).writePage()).href;
    await withTab(page, async (tab) => {
      await tab.look(360, 800);
      await tab.until(`${brightness} > 0`);
      expect(await tab.evaluate(`document.querySelector("h1").textContent`)).toBe(
        `a <img src=x onerror=alert(1)> & "b"`,
      );
      expect(await tab.evaluate(`document.querySelector("img")`)).toBe(null);
      expect(await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
      const back = `getComputedStyle(document.body).backgroundColor`,
        light = await tab.evaluate<string>(back);
      await tab.look(1200, 800, "dark");
      expect(await tab.evaluate(back)).not.toBe(light);
      expect(tab.errors).toEqual([]);
    });
  });
});
