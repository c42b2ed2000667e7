// Steers a page in headless Chromium as a user would: keys, sizes, dark mode, and what scripts in the page see. It speaks the
// browser's DevTools protocol over a WebSocket.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "./chromium.ts";

/** A page in a browser. */
export interface Tab {
  /** Evaluates an expression in the page, waits for its promise, and returns its value as JSON has it. @throws what it throws */
  evaluate<T>(expression: string): Promise<T>;
  /** Waits until an expression is true in the page. @throws after 30 seconds, with what the page shows */
  until(expression: string): Promise<void>;
  /** Opens another address, or the same one again, and waits until it is loaded. */
  open(address: string): Promise<void>;
  /** Presses a key, with Ctrl if wanted. */
  press(key: string, isWithCtrl?: boolean): Promise<void>;
  /** Moves the mouse to a place in the window, presses its left button there, or releases it. */
  mouse(action: "move" | "down" | "up", x: number, y: number): Promise<void>;
  /** Sets the size of the window in pixels, and whether the system is dark. */
  look(width: number, height: number, scheme?: "light" | "dark"): Promise<void>;
  /** A PNG of the whole page, or of what the window shows of it. */
  screenshot(isWindow?: boolean): Promise<Uint8Array>;
  /** Errors in the page so far: exceptions, and what its policy has refused. */
  readonly errors: readonly string[];
}

/** Opens a page, lets `use` steer it, and ends the browser. */
export async function withTab<T>(address: string, use: (tab: Tab) => Promise<T>): Promise<T> {
  const profile = mkdtempSync(join(tmpdir(), "tessera-profile-"));
  const flags = [
    "--headless",
    "--no-sandbox",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    `--user-data-dir=${profile}`,
  ];
  const child = spawn(chromium!, [...flags, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
  const closed = new Promise<void>((resolve) => child.on("close", () => resolve()));
  try {
    const connection = await Connection.open(await endpointOf(child.stderr!));
    try {
      return await use(await connection.tab(address));
    } finally {
      connection.close();
    }
  } finally {
    child.kill();
    await closed;
    for (let tries = 0; tries < 50; tries++) { // its other processes end a little later
      try {
        rmSync(profile, { recursive: true, force: true });
        break;
      } catch {
        await sleep(100);
      }
    }
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Reads the address of the protocol, which the browser prints when it has started. */
function endpointOf(stderr: NodeJS.ReadableStream): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    stderr.on("data", (part) => {
      text += part;
      const [, address] = /DevTools listening on (ws:\S+)/.exec(text) ?? [];
      if (address) resolve(address);
    });
    stderr.on("end", () => reject(new Error(`${chromium} ended: ${text.slice(-500)}`)));
  });
}

interface Reply {
  readonly id?: number;
  readonly method?: string;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
  readonly params?: Record<string, unknown>;
}

class Connection {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  readonly #errors: string[] = [];
  #count = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(String(data)) as Reply);
  }

  static async open(address: string): Promise<Connection> {
    const socket = new WebSocket(address);
    await new Promise<void>((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onerror = () => reject(new Error(`no connection to ${address}`));
    });
    return new Connection(socket);
  }

  close(): void {
    this.#socket.close();
  }

  #receive({ id, method, params, ...reply }: Reply): void {
    if (id !== undefined) this.#waiting.get(id)?.(reply);
    if (method === "Runtime.exceptionThrown" || method === "Log.entryAdded") {
      const text = JSON.stringify(params);
      if (method !== "Log.entryAdded" || text.includes('"level":"error"')) this.#errors.push(text);
    }
  }

  async #send(method: string, params: object, sessionId?: string): Promise<Record<string, unknown>> {
    const id = ++this.#count;
    const { result, error } = await new Promise<Reply>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    });
    if (error) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  async tab(address: string): Promise<Tab> {
    const { targetId } = await this.#send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.#send("Target.attachToTarget", { targetId, flatten: true });
    const send = (method: string, params: object = {}) => this.#send(method, params, String(sessionId));
    for (const domain of ["Page", "Runtime", "Log"]) await send(`${domain}.enable`);
    let isDown = false;
    const tab: Tab = {
      errors: this.#errors,
      evaluate: async <T>(expression: string) => {
        const { result, exceptionDetails } = await send("Runtime.evaluate", {
          expression,
          awaitPromise: true,
          returnByValue: true,
        }) as { result: { value: T }; exceptionDetails?: object };
        if (exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
        return result.value;
      },
      until: async (expression) => {
        const start = performance.now();
        const isTrue = () =>
          tab.evaluate<boolean>(`Boolean(${expression})`).catch((error: Error) => {
            if (/context was destroyed|navigated/.test(error.message)) return false; // the page is being loaded again
            throw error;
          });
        while (!await isTrue()) {
          if (performance.now() - start > 30_000) {
            const text = await tab.evaluate<string>("document.body.innerText");
            throw new Error(
              `not after 30 s: ${expression}\n${text.slice(0, 2000)}\n${this.#errors.join("\n")}`,
            );
          }
          await sleep(50);
        }
      },
      open: async (address) => {
        await tab.evaluate("globalThis.isLeft = true");
        await send("Page.navigate", { url: address });
        const isNew = "!globalThis.isLeft && location.href !== 'about:blank'";
        await tab.until(`${isNew} && document.readyState === "complete"`);
      },
      press: async (key, isWithCtrl = false) => {
        for (const type of ["keyDown", "keyUp"]) {
          const modifiers = isWithCtrl ? 2 : 0;
          await send("Input.dispatchKeyEvent", { type, key, code: key, modifiers, ...codes[key] });
        }
      },
      mouse: async (action, x, y) => {
        const type = { move: "mouseMoved", down: "mousePressed", up: "mouseReleased" }[action];
        isDown = action === "move" ? isDown : action === "down";
        const pressed = { button: "left", buttons: isDown ? 1 : 0, clickCount: 1 };
        await send("Input.dispatchMouseEvent", { type, x, y, ...pressed });
      },
      look: async (width, height, scheme = "light") => {
        await send("Emulation.setDeviceMetricsOverride", {
          width,
          height,
          deviceScaleFactor: 1,
          mobile: false,
        });
        await send("Emulation.setEmulatedMedia", {
          features: [{ name: "prefers-color-scheme", value: scheme }],
        });
      },
      screenshot: async (isWindow = false) => {
        const { data } = await send("Page.captureScreenshot", { captureBeyondViewport: !isWindow });
        return Uint8Array.from(atob(String(data)), (letter) => letter.charCodeAt(0));
      },
    };
    await tab.open(address);
    return tab;
  }
}

/** The numbers by which the browser knows keys. */
const codes: Readonly<Record<string, object>> = {
  ArrowLeft: { windowsVirtualKeyCode: 37 },
  ArrowRight: { windowsVirtualKeyCode: 39 },
  ArrowUp: { windowsVirtualKeyCode: 38 },
  ArrowDown: { windowsVirtualKeyCode: 40 },
  " ": { windowsVirtualKeyCode: 32, text: " " },
  z: { windowsVirtualKeyCode: 90 },
  y: { windowsVirtualKeyCode: 89 },
  Tab: { windowsVirtualKeyCode: 9 },
  Home: { windowsVirtualKeyCode: 36 },
  End: { windowsVirtualKeyCode: 35 },
  Enter: { windowsVirtualKeyCode: 13, text: "\r" },
};
