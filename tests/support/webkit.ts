// Steers a page in WebKitGTK, which stands in for Safari, as devtools.ts does in Chromium: by WebDriver
// (https://www.w3.org/TR/webdriver2/) over HTTP, on a screen that Xvfb keeps in memory. Debian has them as webkit2gtk-driver
// and xvfb.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import type { Tab } from "./devtools.ts";
import { pause, pointed, untilTrue, written } from "./webdriver.ts";

const has = (command: string) => spawnSync("which", [command]).status === 0;

/** What has to be installed for it; null if it is there. */
export const missingWebKit: string | null = has("WebKitWebDriver") && has("Xvfb")
  ? null
  : "WebKitWebDriver and Xvfb";

/** Opens a page, lets `use` steer it, and ends the browser. */
export async function withWebKit<T>(address: string, use: (tab: Tab) => Promise<T>): Promise<T> {
  const screen = spawn("Xvfb", ["-displayfd", "1", "-screen", "0", "1600x1400x24", "-nolisten", "tcp"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const running: ChildProcess[] = [screen];
  try {
    const display = await firstLine(screen);
    const port = await freePort();
    const env = { ...process.env, DISPLAY: `:${display}`, NO_AT_BRIDGE: "1" };
    running.push(spawn("WebKitWebDriver", [`--port=${port}`], { env, stdio: "ignore" }));
    const session = await Session.open(`http://127.0.0.1:${port}`);
    try {
      const tab = session.tab();
      await tab.open(address);
      return await use(tab);
    } finally {
      await session.close();
    }
  } finally {
    for (const child of running.reverse()) {
      const closed = new Promise<void>((resolve) => child.on("close", () => resolve()));
      child.kill();
      await closed;
    }
  }
}

/** The number of the display, which Xvfb prints when it has started. */
function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout!.on("data", (part) => {
      text += part;
      if (text.includes("\n")) resolve(text.trim());
    });
    child.on("close", (code) => reject(new Error(`Xvfb ended with code ${code}`)));
  });
}

/** A port that nobody listens on at the moment: the driver does not choose one itself. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The browser's toolbar needs so many pixels, so the window of a phone is as wide here. */
const narrowest = 450;

/** Collects the errors of a page from when it is loaded, because the driver does not report them. */
const watchErrors = `(() => {
  if (globalThis.errorsSeen) return;
  globalThis.errorsSeen = [];
  addEventListener("error", ({ message }) => errorsSeen.push(message));
  addEventListener("unhandledrejection", ({ reason }) => errorsSeen.push(String(reason)));
})()`;

class Session {
  readonly #address: string;
  readonly #errors: string[] = [];

  private constructor(address: string) {
    this.#address = address;
  }

  /** @param driver the address of the driver, which may still be starting */
  static async open(driver: string): Promise<Session> {
    for (let tries = 1;; tries++) {
      try {
        const { sessionId } = await request("POST", `${driver}/session`, { capabilities: {} }) as {
          sessionId: string;
        };
        const session = new Session(`${driver}/session/${sessionId}`);
        await session.#send("POST", "timeouts", { script: 120_000, pageLoad: 120_000 });
        return session;
      } catch (error) {
        if (tries === 100 || !(error instanceof TypeError)) throw error; // fetch throws one where nobody listens
        await pause(100);
      }
    }
  }

  async close(): Promise<void> {
    await request("DELETE", this.#address);
  }

  async #send(method: "GET" | "POST", path: string, body?: object): Promise<unknown> {
    return await request(method, `${this.#address}/${path}`, body);
  }

  tab(): Tab {
    const act = (source: object) => this.#send("POST", "actions", { actions: [source] });
    const evaluate = async <T>(expression: string): Promise<T> => {
      const script = `const answer = arguments[0];
        Promise.resolve().then(() => (${expression})).then(
          (value) => answer(JSON.stringify({ value })),
          (error) => answer(JSON.stringify({ error: String(error) })),
        );`;
      const { value, error } = JSON.parse(
        String(await this.#send("POST", "execute/async", { script, args: [] })),
      ) as {
        value: T;
        error?: string;
      };
      if (error !== undefined) throw new Error(`${expression}: ${error}`);
      return value;
    };
    const tab: Tab = {
      errors: this.#errors,
      evaluate: async (expression) => {
        const value = await evaluate<never>(expression);
        this.#errors.push(...await evaluate<string[]>("(globalThis.errorsSeen ?? []).splice(0)"));
        return value;
      },
      until: (expression) => untilTrue(tab, expression, /no such window|navigat|unloaded|javascript error/i),
      open: async (address) => {
        await this.#send("POST", "url", { url: address });
        await evaluate(watchErrors);
      },
      press: async (key, isWithCtrl = false) => void await act(written(key, isWithCtrl)),
      mouse: async (action, x, y) => void await act(pointed(action, x, y)),
      look: async (width, height) => {
        const inner = () => evaluate<[number, number]>("[innerWidth, innerHeight]");
        let [outerWidth, outerHeight] = [width, height];
        for (let tries = 0; tries < 3; tries++) { // the window is larger than what the page has of it
          await this.#send("POST", "window/rect", { width: outerWidth, height: outerHeight });
          await pause(200);
          const [innerWidth, innerHeight] = await inner();
          if (innerWidth === width && innerHeight === height) return;
          outerWidth += width - innerWidth;
          outerHeight += height - innerHeight;
        }
        const [innerWidth, innerHeight] = await inner();
        if (innerHeight === height && width < innerWidth && innerWidth <= narrowest) return;
        throw new Error(`the window has ${innerWidth}x${innerHeight} pixels, wanted are ${width}x${height}`);
      },
      screenshot: async () => {
        const data = await this.#send("GET", "screenshot");
        return Uint8Array.from(atob(String(data)), (letter) => letter.charCodeAt(0));
      },
    };
    return tab;
  }
}

/** A command of WebDriver. @throws what the driver says */
async function request(method: string, address: string, body?: object): Promise<unknown> {
  const response = await fetch(address, { method, body: body && JSON.stringify(body) });
  const { value } = await response.json() as { value: unknown };
  if (response.ok) return value;
  const { error, message } = value as { error: string; message: string };
  throw new Error(`${method} ${address}: ${error}: ${message}`);
}
