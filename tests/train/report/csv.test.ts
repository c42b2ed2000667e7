// metrics.csv: one row for each step.
import { expect, test } from "bun:test";
import { formatCsv } from "../../../train/report/csv.ts";
import type { Metrics } from "../../../train/index.ts";

test("lines of one step are one row, and what a step lacks is empty", () => {
  const lines: Metrics[] = [{ step: 0, "val/psnr": 20 }, { step: 1, lr: 1e-7 }, {
    step: 1,
    "val/psnr": 21.5,
  }];
  expect(formatCsv(lines)).toBe("step,val/psnr,lr\n0,20,\n1,21.5,1e-7\n");
  expect(formatCsv([])).toBe("step\n");
});

test("names cannot break out of their cells or become formulas", () => {
  expect(formatCsv([{ step: 1, 'a,"b"\n': 2, "=1+1": "-x" }])).toBe(
    `step,"a,""b""\n",'=1+1\n1,2,'-x\n`,
  );
});
