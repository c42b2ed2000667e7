// State dicts: tensors that fit are copied, and the others are reported.
import { expect, test } from "bun:test";
import { Conv2d } from "../../nn/layers.ts";
import { formatLoadReport } from "../../nn/module.ts";
import { tensor, zeros } from "../../src/index.ts";

test("loadStateDict copies what fits and reports the rest", async () => {
  const conv = new Conv2d(2, 3, 1, null);
  const weight = tensor([1, 2, 3, 4, 5, 6], [3, 2, 1, 1]);
  const report = conv.loadStateDict(
    new Map([["weight", weight], ["bias", zeros([4])], ["extra", zeros([1])]]),
  );
  expect(await conv.weight.floats()).toEqual(new Float32Array([1, 2, 3, 4, 5, 6]));
  expect(report.matched).toEqual(["weight"]);
  expect(formatLoadReport(report)).toBe(
    "1 not used by the model:\n  extra\n1 of another shape:\n  bias: model [3], file [4]",
  );
});
