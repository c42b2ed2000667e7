// What the tests of the playground share: the page in a folder, a server for it, and what a user does there.
import { mkdtempSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildPlayground } from "../../playground/build.ts";
import { serveFolder } from "../../playground/serve.ts";
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

/** The tokens in the table of a panel, which is opened. */
export async function tokensIn(tab: Tab, panel: string): Promise<number[]> {
  await tab.evaluate(`document.querySelector("#${panel} details.table").open = true`);
  await tab.until(`document.querySelector("#${panel} table")`);
  return await tab.evaluate(
    `[...document.querySelectorAll("#${panel} tbody td")].map((cell) => Number(cell.textContent))`,
  );
}

/** Clicks one of the options of a panel that look like a bar, by its value. */
export async function choose(tab: Tab, panel: string, value: string): Promise<void> {
  await tab.evaluate(`document.querySelector('#${panel} input[value="${value}"]').click()`);
}
