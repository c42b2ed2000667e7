// Steers a page in headless Firefox as devtools.ts does in Chromium: by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/) over
// a WebSocket.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Tab } from "./devtools.ts";
import { asJson, pause, pointed, untilTrue, written } from "./webdriver.ts";

/** The command that starts the browser; undefined if there is none. */
export const firefox: string | undefined = ["firefox-esr", "firefox"].find((name) => {
  return spawnSync(name, ["--version"]).status === 0;
});

/** What would start conversations with the user or with servers. */
const preferences = {
  "browser.shell.checkDefaultBrowser": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "app.update.enabled": false,
  "app.normandy.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
};

/** Opens a page, lets `use` steer it, and ends the browser. */
export async function withFirefox<T>(address: string, use: (tab: Tab) => Promise<T>): Promise<T> {
  const profile = mkdtempSync(join(tmpdir(), "tessera-profile-"));
  const lines = Object.entries(preferences).map(([name, value]) => `user_pref("${name}", ${value});\n`);
  writeFileSync(join(profile, "user.js"), lines.join(""));
  const flags = ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port=0"];
  const child = spawn(firefox!, [...flags, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
  const closed = new Promise<void>((resolve) => child.on("close", () => resolve()));
  try {
    const session = await Session.open(await endpointOf(child.stderr));
    const tab = await session.tab();
    await tab.open(address);
    return await use(tab);
  } finally {
    child.kill();
    await closed;
    rmSync(profile, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  }
}

/** Reads the address of the protocol, which the browser prints when it has started. */
function endpointOf(stderr: NodeJS.ReadableStream): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    stderr.on("data", (part) => {
      text += part;
      const [, address] = /WebDriver BiDi listening on (ws:\S+)/.exec(text) ?? [];
      if (address) resolve(`${address}/session`);
    });
    stderr.on("end", () => reject(new Error(`${firefox} ended: ${text.slice(-500)}`)));
  });
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly result?: Record<string, unknown>;
  readonly message?: string;
  readonly params?: Record<string, unknown>;
}

class Session {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (reply: Message) => void>();
  readonly #errors: string[] = [];
  #count = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(String(data)) as Message;
      if (message.id !== undefined) this.#waiting.get(message.id)?.(message);
      if (message.method === "log.entryAdded" && message.params?.level === "error") {
        this.#errors.push(JSON.stringify(message.params));
      }
    };
  }

  static async open(address: string): Promise<Session> {
    const socket = new WebSocket(address);
    await new Promise<void>((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onerror = () => reject(new Error(`no connection to ${address}`));
    });
    const session = new Session(socket);
    await session.#send("session.new", { capabilities: {} });
    await session.#send("session.subscribe", { events: ["log.entryAdded"] });
    return session;
  }

  async #send(method: string, params: object): Promise<Record<string, unknown>> {
    const id = ++this.#count;
    const { result, message } = await new Promise<Message>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
    if (result === undefined) throw new Error(`${method}: ${message}`);
    return result;
  }

  async tab(): Promise<Tab> {
    const { contexts } = await this.#send("browsingContext.getTree", {}) as {
      contexts: { context: string }[];
    };
    const [{ context }] = contexts;
    const send = (method: string, params: object) => this.#send(method, { context, ...params });
    const act = (source: object) => send("input.performActions", { actions: [source] });
    const tab: Tab = {
      errors: this.#errors,
      evaluate: async <T>(expression: string) => {
        const { result, exceptionDetails } = await this.#send("script.evaluate", {
          expression: asJson(expression),
          target: { context },
          awaitPromise: true,
        }) as { result?: { value?: string }; exceptionDetails?: { text: string } };
        if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.text}`);
        return (result?.value === undefined ? undefined : JSON.parse(result.value)) as T;
      },
      until: (expression) => untilTrue(tab, expression, /no such frame|discarded|navigat|aborted/i),
      open: async (address) =>
        void await send("browsingContext.navigate", { url: address, wait: "complete" }),
      press: async (key, isWithCtrl = false) => void await act(written(key, isWithCtrl)),
      mouse: async (action, x, y) => void await act(pointed(action, x, y)),
      look: async (width, height) => {
        await send("browsingContext.setViewport", { viewport: { width, height } });
        await pause(50);
      },
      screenshot: async () => {
        const { data } = await send("browsingContext.captureScreenshot", { origin: "document" });
        return Uint8Array.from(atob(String(data)), (letter) => letter.charCodeAt(0));
      },
    };
    return tab;
  }
}
