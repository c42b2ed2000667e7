// What the tests of the playground share: the page in a folder, a server for it, and what a user does there.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildPlayground } from "../../playground/build.ts";
import { serveFolder } from "../../playground/serve.ts";
import { tessera } from "../support/commands.ts";
import type { Tab } from "../support/devtools.ts";

let built: string | null = null;

/** The folder with the page, which is made once. */
export function site(): string {
  if (built === null) buildPlayground(built = mkdtempSync(join(tmpdir(), "tessera-site-")));
  return built;
}

export function removeSite(): void {
  if (built !== null) rmSync(built, { recursive: true, force: true });
  built = null;
}

/** Serves the page while `use` runs. */
export async function served<T>(
  use: (address: string, server: Server) => Promise<T>,
  options: Parameters<typeof serveFolder>[2] = {},
): Promise<T> {
  const { address, server } = await serveFolder(site(), 0, options);
  try {
    return await use(address, server);
  } finally {
    stop(server);
  }
}

export function stop(server: Server): void {
  server.closeAllConnections();
  server.close();
}

/** An expression: whether the first picture is there. */
export const isReady = `(document.querySelector("#face .numbers")?.textContent ?? "") !== ""`;

/** Drops a file on the page, by the event that the browser sends. */
export async function drop(tab: Tab, name: string, type: string, bytes: Uint8Array): Promise<void> {
  await tab.evaluate(`(() => {
    const bytes = Uint8Array.from(atob("${base64(bytes)}"), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], ${JSON.stringify(name)}, { type: "${type}" }));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
  })()`);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

const cells = (panel: string) =>
  `[...document.querySelectorAll("#${panel} tbody td")].map((cell) => cell.textContent)`;

/** An expression: the tokens in the open table of a panel, with commas. */
export const tokenText = (panel: string): string => `${cells(panel)}.join()`;

/** The tokens in the table of a panel, which is opened. */
export async function tokensIn(tab: Tab, panel: string): Promise<number[]> {
  await tab.evaluate(`document.querySelector("#${panel} details.table").open = true`);
  await tab.until(`document.querySelector("#${panel} table")`);
  return await tab.evaluate(`${cells(panel)}.map(Number)`);
}

/** Waits until the table of a panel has these tokens. */
export async function untilTokens(tab: Tab, panel: string, wanted: readonly number[]): Promise<void> {
  await tokensIn(tab, panel);
  await tab.until(`${tokenText(panel)} === "${wanted}"`);
}

/** Clicks one of the options of a panel that look like a bar, by its value. */
export async function choose(tab: Tab, panel: string, value: string): Promise<void> {
  await tab.evaluate(`document.querySelector('#${panel} input[value="${value}"]').click()`);
}

/** The tokens of one picture by `tessera encode`. @param words its other options, and the picture */
export async function encodedBy(folder: string, ...words: readonly string[]): Promise<number[]> {
  const list = join(folder, "tokens.jsonl");
  const { code, err } = await tessera("encode", ...words, "-o", list, "--force");
  if (code !== 0) throw new Error(err);
  const [, row] = readFileSync(list, "utf8").split("\n"); // the first line says how they were made
  return (JSON.parse(row) as { encoding: number[] }).encoding;
}
