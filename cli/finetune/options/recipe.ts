// The option --recipe: settings that measured well together (docs/training.md), as they would be typed. What is typed as well
// comes first.
import { type Command, Option } from "commander";

/** The recipes by their names. */
export const recipes: Readonly<Record<string, string>> = {
  "modern": "--disc-warmup 100 --disc-ramp 300 --disc-weight 0.2 --lecam 0.05 --clip 1 --ema 0.995",
};

/** The option for a set of settings. */
export function recipeOption(): Option {
  const lines = Object.entries(recipes).map(([name, words]) => `${name} is ${words}`);
  return new Option(
    "--recipe <name>",
    `settings that measured well together: ${
      lines.join("; ")
    }; options that you give come first (default: taming's)`,
  ).choices(Object.keys(recipes));
}

/**
 * Sets the options of a command to those of its recipe, except for those that were given, and those that exclude one of them.
 * @returns what was set, in one line; null without a recipe
 */
export function applyRecipe(command: Command): string | null {
  const name = command.opts<{ recipe?: string }>().recipe;
  if (name === undefined) return null;
  const given = command.options.filter((option) =>
    command.getOptionValueSource(option.attributeName()) === "cli"
  );
  const set: string[] = [];
  for (const [flag, ...words] of recipes[name].split(/ (?=--)/).map((part) => part.split(" "))) {
    const option = command.options.find(({ long }) => long === flag);
    if (!option) throw new Error(`recipe ${name}: there is no option ${flag}`);
    if (given.some((other) => other === option || excludes(other, option) || excludes(option, other))) {
      continue;
    }
    const value = words.length === 0 ? true : option.parseArg?.(words[0], undefined) ?? words[0];
    command.setOptionValueWithSource(option.attributeName(), value, "recipe");
    set.push([flag, ...words].join(" "));
  }
  return `recipe ${name}: ${set.length === 0 ? "all of it was given" : set.join(" ")}`;
}

/** Whether an option was declared to exclude another one (`Option.conflicts`, which commander's types let nobody read). */
function excludes(one: Option, other: Option): boolean {
  const { conflictsWith } = one as Option & { readonly conflictsWith: readonly string[] };
  return conflictsWith.includes(other.attributeName());
}
