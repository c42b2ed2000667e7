// Drawing that need not be done at once. It is done a few milliseconds at a time, so that the page answers in between.

const waiting: (() => void)[] = [];
/** The most milliseconds that are drawn without a pause, as long as no single drawing takes longer. */
const longest = 10;

/** Draws something soon, after what was asked for before. */
export function later(draw: () => void): void {
  waiting.push(draw);
  if (waiting.length === 1) setTimeout(work);
}

function work(): void {
  const start = performance.now();
  while (waiting.length > 0 && performance.now() - start < longest) {
    try {
      waiting[0]();
    } finally {
      waiting.shift();
    }
  }
  if (waiting.length > 0) setTimeout(work);
}
