// The browsers that the playground is tested in: how each is started, and a Tab that steers it. In Bun only Chromium is,
// because a browser does the same whoever steers it.
import process from "node:process";
import { browsers as names, chromium } from "../support/chromium.ts";
import { type Tab, withTab } from "../support/devtools.ts";
import { firefox, withFirefox } from "../support/firefox.ts";
import { missingWebKit, withWebKit } from "../support/webkit.ts";

export interface Browser {
  readonly name: string;
  /** What has to be installed for it; null if it is there. */
  readonly missing: string | null;
  /** Opens a page, lets `use` steer it, and ends the browser. */
  withTab<T>(address: string, use: (tab: Tab) => Promise<T>): Promise<T>;
}

const inDeno = process.versions.bun ? "Deno, whose tests run in all three browsers" : null;

export const browsers: readonly Browser[] = [
  { name: "Chromium", missing: chromium ? null : `one of ${names.join(", ")}`, withTab },
  { name: "Firefox", missing: inDeno ?? (firefox ? null : "firefox-esr or firefox"), withTab: withFirefox },
  { name: "WebKit", missing: inDeno ?? missingWebKit, withTab: withWebKit },
];
