// What --recipe sets, and what is left to those who give options themselves.
import { Command } from "commander";
import { expect, test } from "bun:test";
import { finetuneCommand } from "../../../../cli/finetune/command.ts";
import { applyRecipe, recipes } from "../../../../cli/finetune/options/recipe.ts";

/** The command with its options read, and not run. */
function parsed(...words: string[]): Command {
  const command = finetuneCommand().exitOverride().action(() => {});
  command.parse(["--scratch", "--data", "faces", ...words], { from: "user" });
  return command;
}

test("a recipe sets options as if they had been typed, and says so", () => {
  for (const [name, words] of Object.entries(recipes)) {
    const command = parsed("--recipe", name), typed = parsed(...words.split(" "));
    expect(applyRecipe(command)).toBe(`recipe ${name}: ${words}`);
    const { recipe: _recipe, ...set } = command.opts();
    expect(set).toEqual(typed.opts());
  }
});

test("options that were given come first, and those that exclude one of the recipe", () => {
  const command = parsed("--recipe", "modern", "--clip", "5", "--disc-fixed-weight", "0.3");
  expect(applyRecipe(command)).toBe(
    `recipe modern: ${recipes.modern.replace(" --disc-weight 0.2", "").replace(" --clip 1", "")}`,
  );
  const { clip, discFixedWeight, discWeight } = command.opts();
  expect([clip, discFixedWeight, discWeight]).toEqual([5, 0.3, undefined]);
});

test("without a recipe nothing is set", () => {
  const command = parsed();
  const before = command.opts();
  expect(applyRecipe(command)).toBe(null);
  expect(command.opts()).toEqual(before);
});

test("another name is refused with those that there are", () => {
  const command = finetuneCommand().exitOverride().configureOutput({ writeErr: () => {} });
  expect(() => command.parse(["--recipe", "new"], { from: "user" })).toThrow("Allowed choices are modern");
});
