// What the drivers of Firefox and WebKit share: both speak WebDriver's way of saying what keys and the mouse do
// (https://www.w3.org/TR/webdriver2/#actions), and evaluate an expression to a text of JSON.
import type { Tab } from "./devtools.ts";

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** An expression for the value of another one, awaited, as JSON; undefined stays undefined. */
export const asJson = (expression: string): string =>
  `Promise.resolve((${expression})).then((value) => JSON.stringify(value))`;

/**
 * Waits until an expression is true in the page.
 * @param passing errors that say that the page is just being loaded again
 * @throws after 30 seconds, with what the page shows
 */
export async function untilTrue(tab: Tab, expression: string, passing: RegExp): Promise<void> {
  const start = performance.now();
  const isTrue = () =>
    tab.evaluate<boolean>(`Boolean(${expression})`).catch((error: Error) => {
      if (passing.test(error.message)) return false;
      throw error;
    });
  while (!await isTrue()) {
    if (performance.now() - start > 30_000) {
      const text = await tab.evaluate<string>("document.body.innerText");
      throw new Error(`not after 30 s: ${expression}\n${text.slice(0, 2000)}\n${tab.errors.join("\n")}`);
    }
    await pause(50);
  }
}

/** The characters that WebDriver has for keys without one. */
const characters: Readonly<Record<string, string>> = {
  Tab: "\uE004",
  Enter: "\uE006",
  Control: "\uE009",
  End: "\uE010",
  Home: "\uE011",
  ArrowLeft: "\uE012",
  ArrowUp: "\uE013",
  ArrowRight: "\uE014",
  ArrowDown: "\uE015",
};

/** A key that is pressed and released, with Ctrl if wanted. */
export function written(key: string, isWithCtrl: boolean): object {
  const keys = [...isWithCtrl ? ["Control"] : [], key].map((name) => characters[name] ?? name);
  const down = keys.map((value) => ({ type: "keyDown", value }));
  const up = keys.toReversed().map((value) => ({ type: "keyUp", value }));
  return { type: "key", id: "keyboard", actions: [...down, ...up] };
}

/** The mouse that moves to a place in the window, and presses or releases its left button there. */
export function pointed(action: "move" | "down" | "up", x: number, y: number): object {
  const move = { type: "pointerMove", x: Math.floor(x), y: Math.floor(y), duration: 0 };
  const button = { type: action === "down" ? "pointerDown" : "pointerUp", button: 0 };
  const parameters = { pointerType: "mouse" };
  return { type: "pointer", id: "mouse", parameters, actions: action === "move" ? [move] : [move, button] };
}
