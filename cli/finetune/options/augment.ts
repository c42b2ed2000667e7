// The option --augment: names of changes, with or without strengths.
import { InvalidArgumentError, Option } from "commander";
import { type Augment, augmentStrengths, checkAugment } from "../../../data/pictures/augment.ts";

/** What each change is called at the prompt. */
const names: Readonly<Record<string, keyof Augment>> = {
  "hue": "hue",
  "saturation": "saturation",
  "white-balance": "whiteBalance",
  "background": "background",
  "light": "light",
  "scale": "scale",
};

/** Reads "all", or a list such as "hue=30,light". @throws InvalidArgumentError naming what is wrong */
export function parseAugment(text: string): Augment {
  if (text === "all") return augmentStrengths;
  const strengths = new Map<keyof Augment, number>();
  for (const part of text.split(",").map((part) => part.trim())) {
    const [name, value, ...more] = part.split("=");
    if (!Object.hasOwn(names, name)) {
      throw new InvalidArgumentError(
        `there is no ${JSON.stringify(name)}; use all, or some of ${Object.keys(names).join(",")}`,
      );
    }
    if (more.length > 0) throw new InvalidArgumentError(`${JSON.stringify(part)} has two strengths`);
    const key = names[name];
    if (strengths.has(key)) throw new InvalidArgumentError(`${name} is there twice`);
    strengths.set(key, value === undefined ? augmentStrengths[key] : value === "" ? NaN : Number(value));
  }
  const augment: Augment = Object.fromEntries(strengths);
  try {
    checkAugment("--augment", augment);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message.replace(/^--augment: /, ""));
  }
  return augment;
}

/** The option for pictures that are changed at random. */
export function augmentOption(): Option {
  const strengths = Object.entries(names).map(([name, key]) => `${name}=${augmentStrengths[key]}`);
  return new Option(
    "--augment <changes>",
    `change training pictures at random, to cover colours and sizes that they lack: all, or a list such as hue,light=0.2 (all: ${
      strengths.join(",")
    })`,
  ).argParser(parseAugment);
}
