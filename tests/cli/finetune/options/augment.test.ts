// What --augment takes, and what it says of other words.
import { expect, test } from "bun:test";
import { parseAugment } from "../../../../cli/finetune/options/augment.ts";
import { augmentStrengths } from "../../../../data/index.ts";

test("--augment takes all, or names of changes with or without strengths", () => {
  expect(parseAugment("all")).toEqual(augmentStrengths);
  expect(parseAugment("hue=30, light=0.2")).toEqual({ hue: 30, light: 0.2 });
  expect(parseAugment("white-balance,hue=30,scale=1.2")).toEqual({
    whiteBalance: augmentStrengths.whiteBalance,
    hue: 30,
    scale: 1.2,
  });
});

test("--augment names what is wrong", () => {
  const cases: [string, string][] = [
    [
      "colour",
      'there is no "colour"; use all, or some of hue,saturation,white-balance,background,light,scale',
    ],
    ["hue=999", "hue is 999, expected a number from 0 to 180"],
    ["hue=", "hue is NaN, expected a number from 0 to 180"],
    ["scale=0.5", "scale is 0.5, expected a number from 1 to 8"],
    ["light,", 'there is no ""; use all'],
    ["hue=1=2", '"hue=1=2" has two strengths'],
    ["hue=1,hue=2", "hue is there twice"],
  ];
  for (const [text, says] of cases) expect(() => parseAugment(text)).toThrow(says);
});
