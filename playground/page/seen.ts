// Work that is only worth doing while someone looks.
/// <reference lib="dom" />
import { type AnySignal, watchAll } from "./signal.ts";

/**
 * Calls `act` now and whenever one of the signals changes, while the element is in the window or close to it. What changes
 * meanwhile is made up for when the element comes into view.
 * @returns a function that says that `act` is due for another reason, and whether the element is in view
 */
export function watchSeen(
  element: HTMLElement,
  signals: readonly AnySignal[],
  act: () => void,
): { readonly due: () => void; readonly isSeen: () => boolean } {
  let isSeen = false, isDue = false;
  const due = () => {
    isDue = !isSeen;
    if (isSeen) act();
  };
  watchAll(signals, due);
  new IntersectionObserver(([{ isIntersecting }]) => {
    isSeen = isIntersecting;
    if (isSeen && isDue) due();
  }, { rootMargin: "200px" }).observe(element);
  return { due, isSeen: () => isSeen };
}
