// The browsers that the playground is tested in. Another one is another entry: how it is started, and a Tab that steers it.
import { browsers as names, chromium } from "../support/chromium.ts";
import { type Tab, withTab } from "../support/devtools.ts";

export interface Browser {
  readonly name: string;
  /** What has to be installed for it; null if it is there. */
  readonly missing: string | null;
  /** Opens a page, lets `use` steer it, and ends the browser. */
  withTab<T>(address: string, use: (tab: Tab) => Promise<T>): Promise<T>;
}

export const browsers: readonly Browser[] = [
  { name: "Chromium", missing: chromium ? null : `one of ${names.join(", ")}`, withTab },
];
