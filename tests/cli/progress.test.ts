// The progress line.
import { describe, expect, test } from "bun:test";
import { formatDuration, formatRate, Progress, type ProgressOptions } from "../../cli/progress.ts";

describe("Progress", () => {
  /** Makes a stream that keeps what is written, and a clock that the test sets. */
  function capture(options: ProgressOptions & { isTTY?: boolean; columns?: number }) {
    const written: string[] = [];
    const clock = { time: 0 };
    const stream = {
      write: (text: string) => written.push(text),
      isTTY: options.isTTY,
      columns: options.columns,
    };
    return { written, clock, progress: new Progress({ ...options, stream, now: () => clock.time }) };
  }

  test("prints plain lines every few seconds and at the end if there is no terminal", () => {
    const { written, clock, progress } = capture({ total: 40, label: "train", unit: "step" });
    for (let step = 1; step <= 40; step++) {
      clock.time += 500;
      progress.update(step, `rec ${step}`);
    }
    progress.finish("done");
    progress.finish("done");
    expect(written).toEqual([
      "train  25% 10/40 | 2.00 step/s | 5s, 15s left | rec 10\n",
      "train  50% 20/40 | 2.00 step/s | 10s, 10s left | rec 20\n",
      "train  75% 30/40 | 2.00 step/s | 15s, 5s left | rec 30\n",
      "train 100% 40/40 | 2.00 step/s | 20s | rec 40\n",
      "train 100% 40/40 | 2.00 step/s | 20s | done\n",
    ]);
  });

  test("draws one live line that fits the terminal, without hiding the cursor", () => {
    const { written, clock, progress } = capture({ total: 8, isTTY: true, columns: 60 });
    for (let i = 1; i <= 8; i++) {
      clock.time += 1000;
      progress.tick("rec 0.1234");
    }
    progress.log("saved");
    progress.finish();
    const text = written.join("");
    const escape = String.fromCharCode(27);
    expect(text.includes(`${escape}[?25l`)).toBe(false);
    for (const line of text.split(/[\r\n]/)) {
      expect(line.replaceAll(`${escape}[K`, "").length < 60).toBe(true);
    }
    expect(text).toContain("█");
    expect(text).toContain(`${escape}[Ksaved\n`);
    expect(text.endsWith("\n")).toBe(true);
    const narrow = capture({ total: 8, isTTY: true, columns: 20 });
    narrow.progress.finish("a long text that cannot be shown here");
    expect(narrow.written[0].replaceAll(`${escape}[K`, "").trim().length < 20).toBe(true);
  });

  test("shows an old text with its step, and other work without counting its time", () => {
    const { written, clock, progress } = capture({ total: 100, unit: "step", rate: "seconds each" });
    const after = (seconds: number) => clock.time += seconds * 1000;
    after(5);
    progress.update(10, "rec 0.5");
    after(5);
    progress.update(20, "rec 0.5");
    after(1);
    for (const n of [1, 2]) {
      progress.aside(`validating ${n}/2`);
      after(10);
    }
    progress.aside(null);
    after(4);
    progress.update(30, "rec 0.4");
    expect(written).toEqual([
      " 10% 10/100 | 0.500 s/step | 5s, 45s left | rec 0.5\n",
      " 20% 20/100 | 0.500 s/step | 10s, 40s left | rec 0.5 at 10\n",
      " 20% 20/100 | 0.550 s/step | 21s, 44s left | validating 2/2\n",
      " 30% 30/100 | 0.500 s/step | 35s, 35s left | rec 0.4\n",
    ]);
  });

  test("shows the time that is left as it is told, less what has passed since", () => {
    const { clock, progress } = capture({ total: 200 });
    clock.time = 10_000;
    progress.update(20, "", 400);
    expect(progress.line()).toBe(" 10% 20/200 | 2.00 it/s | 10s, 6:40 left");
    clock.time = 20_000;
    progress.aside("validating");
    expect(progress.line()).toContain("20s, 6:30 left | validating");
    progress.aside(null);
    progress.update(40, "");
    expect(progress.line()).toContain(" left");
    expect(progress.line()).not.toContain("6:30");
  });

  test("measures the rate anew where the work goes back to an earlier unit", () => {
    const { clock, progress } = capture({ total: 100, unit: "step" });
    for (let step = 1; step <= 50; step++) {
      clock.time += 100;
      progress.update(step);
    }
    for (let step = 20; step <= 24; step++) {
      clock.time += 500;
      progress.update(step);
    }
    expect(progress.line()).toContain("24/100 | 2.00 step/s | 8s, 38s left");
  });

  test("shows nothing of short work", () => {
    for (const isTTY of [false, true]) {
      const { written, clock, progress } = capture({ label: "list", patience: 1000, isTTY });
      progress.update(5);
      clock.time = 900;
      progress.update(9);
      progress.finish();
      expect(written).toEqual([]);
      const long = capture({ label: "list", patience: 1000, isTTY });
      long.clock.time = 1500;
      long.progress.update(9);
      long.progress.finish();
      expect(long.written.join("")).toContain("list 9 it | 6.00 it/s | 2s");
    }
  });

  test("measures the rate of a resumed run by its own steps, and allows an unknown total", () => {
    const { clock, progress } = capture({ total: 200, start: 100 });
    clock.time = 10_000;
    progress.update(120);
    expect(progress.line()).toBe(" 60% 120/200 | 2.00 it/s | 10s, 40s left");
    const open = capture({ unit: "img" });
    open.clock.time = 8000;
    open.progress.update(2);
    expect(open.progress.line()).toBe("2 img | 0.250 img/s | 8s");
    expect([5, 185, 7385].map(formatDuration)).toEqual(["5s", "3:05", "2:03:05"]);
    expect([0, 250.4, 0.5].map((rate) => formatRate(rate, "it"))).toEqual([
      "- it/s",
      "250 it/s",
      "0.500 it/s",
    ]);
    expect([0, 250.4, 0.5].map((rate) => formatRate(rate, "step", "seconds each"))).toEqual([
      "- s/step",
      "0.00399 s/step",
      "2.00 s/step",
    ]);
  });
});
