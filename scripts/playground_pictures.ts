// Draws the pictures of the playground for README: docs/playground/page.jpg, and play.webp, in which somebody uses it for 20
// seconds. It steers the page in headless Chromium and takes each frame when the page has drawn it, so the speed of the machine
// does not show.
//
//   deno run -A scripts/playground_pictures.ts
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { buildPlayground } from "../playground/build.ts";
import { serveFolder } from "../playground/serve.ts";
import { type Tab, withTab } from "../tests/support/devtools.ts";

const docs = fileURLToPath(new URL("../docs/playground/", import.meta.url));

/** The window of the animation, in pixels, and how much narrower it is saved. */
const width = 1000, height = 800, savedWidth = 720;
/** Milliseconds that a frame is shown. */
const beat = 130;

/** Takes frames, with the pointer drawn on them. */
class Film {
  readonly #tab: Tab;
  readonly #frames: Uint8Array[] = [];
  readonly #delays: number[] = [];
  #at: readonly [x: number, y: number] = [width / 2, height / 2];

  constructor(tab: Tab) {
    this.#tab = tab;
  }

  /** Takes a frame. */
  async shoot(delay = beat): Promise<void> {
    const [x, y] = this.#at;
    const pointer = `<svg xmlns="http://www.w3.org/2000/svg" width="24" height="30">
      <path d="M2 2v21l6-5 4 9 4-2-4-9h8z" fill="#fff" stroke="#000" stroke-width="1.5"/></svg>`;
    const left = Math.max(0, Math.min(width - 24, Math.round(x))),
      top = Math.max(0, Math.min(height - 30, Math.round(y)));
    const page = await sharp(await this.#tab.screenshot(true)).composite([{
      input: Buffer.from(pointer),
      left,
      top,
    }]).png()
      .toBuffer();
    this.#frames.push(await sharp(page).resize(savedWidth).png().toBuffer());
    this.#delays.push(delay);
  }

  /** Moves the mouse in steps, with a frame for each. */
  async move(x: number, y: number, steps = 4): Promise<void> {
    const [fromX, fromY] = this.#at;
    for (let step = 1; step <= steps; step++) {
      const part = step / steps;
      this.#at = [fromX + (x - fromX) * part, fromY + (y - fromY) * part];
      await this.#tab.mouse("move", ...this.#at);
      await this.settle();
      await this.shoot();
    }
  }

  async press(isDown: boolean): Promise<void> {
    await this.#tab.mouse(isDown ? "down" : "up", ...this.#at);
    await this.settle();
  }

  async click(): Promise<void> {
    await this.press(true);
    await this.press(false);
    await this.shoot();
  }

  /** Waits until the page has drawn what the engine has to say. */
  async settle(): Promise<void> {
    await this.#tab.evaluate(
      "new Promise((resolve) => setTimeout(() => requestAnimationFrame(resolve), 600))",
    );
  }

  /** Scrolls a section to the top. */
  async show(section: string): Promise<void> {
    await this.#tab.evaluate(`document.querySelector("#${section}").scrollIntoView({ behavior: "instant" })`);
    await this.settle();
    await this.shoot(700);
  }

  /** The place of something in the window: x and y as parts of its size. */
  async placeOf(selector: string, x = 0.5, y = 0.5): Promise<[number, number]> {
    const box = await this.#tab.evaluate<{ x: number; y: number; width: number; height: number }>(
      `(({ x, y, width, height }) => ({ x, y, width, height }))(document.querySelector('${selector}').getBoundingClientRect())`,
    );
    return [box.x + box.width * x, box.y + box.height * y];
  }

  get seconds(): number {
    return this.#delays.reduce((sum, delay) => sum + delay) / 1000;
  }

  async save(path: string): Promise<void> {
    await sharp(this.#frames, { join: { animated: true } })
      .webp({ delay: this.#delays, loop: 0, quality: 84, effort: 5 })
      .toFile(path);
  }
}

/** Somebody points at tiles, paints one face's eyes on another, swaps a region, mixes the faces, and looks at a token's reach. */
async function play(tab: Tab, film: Film): Promise<void> {
  await film.show("face");
  const grid = "#face canvas.tokens", paint = "#paint canvas.tokens";
  await film.move(...await film.placeOf(grid, 0.4, 0.42), 3);
  await film.move(...await film.placeOf(grid, 0.65, 0.42), 5);
  await film.move(...await film.placeOf('#face input[value="error"] + span'), 4);
  await film.click();
  await film.shoot(900);

  await film.show("paint");
  await film.move(...await film.placeOf(paint, 0.28, 0.41), 4);
  await film.press(true);
  for (
    const [x, y, steps] of [[0.78, 0.41, 8], [0.78, 0.47, 1], [0.28, 0.47, 8], [0.28, 0.53, 1], [
      0.78,
      0.53,
      8,
    ]]
  ) {
    await film.move(...await film.placeOf(paint, x, y), steps);
  }
  await film.press(false);
  await film.shoot(1000);
  await film.move(...await film.placeOf('#paint input[value="swap"] + span'), 4);
  await film.click();
  await film.move(...await film.placeOf(paint, 0.34, 0.6), 3);
  await film.press(true);
  await film.move(...await film.placeOf(paint, 0.72, 0.85), 5);
  await film.press(false);
  await film.shoot(1300);

  await film.show("mix");
  const slider = '#mix input[type="range"]';
  for (let share = 0; share <= 100; share += 5) {
    await tab.evaluate(`(() => { const slider = document.querySelector('${slider}');
      slider.value = ${share}; slider.dispatchEvent(new Event("input")); })()`);
    await film.move(...await film.placeOf(slider, 0.02 + 0.96 * share / 100, 0.5), 1);
  }
  await film.shoot(700);

  await film.show("reach");
  for (const [x, y] of [[0.4, 0.47], [0.5, 0.47], [0.6, 0.47], [0.5, 0.6], [0.5, 0.72], [0.2, 0.2]]) {
    await film.move(...await film.placeOf("#reach canvas.tokens", x, y), 1);
    await film.shoot(380);
  }
}

const site = mkdtempSync(join(tmpdir(), "tessera-film-"));
buildPlayground(site);
const { address, server } = await serveFolder(site, 0);
try {
  await withTab(address, async (tab) => {
    await tab.look(width, height);
    await tab.until(`(document.querySelector("#face .numbers")?.textContent ?? "") !== ""`);
    await tab.until(`document.querySelector("#paint .side canvas").width === 128`);
    const film = new Film(tab);
    await film.settle();
    await play(tab, film);
    await film.save(join(docs, "play.webp"));
    console.log(`docs/playground/play.webp: ${film.seconds.toFixed(1)} s`);
    await tab.open(address);
    await tab.look(1100, 960);
    await tab.until(`(document.querySelector("#face .numbers")?.textContent ?? "") !== ""`);
    await film.settle();
    await sharp(await tab.screenshot(true)).jpeg({ quality: 84, mozjpeg: true }).toFile(
      join(docs, "page.jpg"),
    );
    console.log("docs/playground/page.jpg");
  });
} finally {
  server.closeAllConnections();
  server.close();
  rmSync(site, { recursive: true, force: true });
}
