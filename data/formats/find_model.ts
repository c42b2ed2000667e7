// Finds the VQGAN among a file's tensors. It may be all of them, or lie below a prefix: `first_stage_model.` inside a larger
// model, `module.` of a wrapper, or the name of a dict such as `params_ema`. Its kind follows from its keys.
import type { Family, Keys, Stranger } from "./families/family.ts";
import { families } from "./families/registry.ts";
import { taming } from "./families/taming.ts";
import { FormatError } from "./source.ts";
import { isTrainingState } from "./state_dict_keys.ts";
import type { StoredTensor } from "./stored_tensor.ts";
import { printable } from "./text.ts";

/** The VQGAN that a file holds. */
export interface FoundModel {
  /** What stands before its keys in the file, for example "first_stage_model."; "" if nothing does. */
  readonly prefix: string;
  /** Whose names the tensors have. */
  readonly family: Family;
}

/** Why no VQGAN of a file can be used. */
export interface NoModel {
  /** What the file holds instead, as a part of a sentence about it. */
  readonly problem: string;
  /** The prefixes of its VQGANs, if it has several. */
  readonly choices: readonly string[];
}

/** The search for a model in a file. */
export interface Search {
  /** The model's tensors under taming's keys; all of the file's if there is no model. */
  readonly tensors: Map<string, StoredTensor>;
  /** The model, or why there is none. */
  readonly model: FoundModel | NoModel;
}

/** A file holds several VQGANs, and nobody said which one to use. */
export class SeveralModelsError extends FormatError {
  /** The prefixes, one of which is to be chosen. */
  readonly choices: readonly string[];
  /** The message without the path and the way out. */
  readonly problem: string;

  /** Says what the file holds. @param choices the prefixes of its VQGANs */
  constructor(path: string, { problem, choices }: NoModel) {
    super(path, problem, `choose one: openCheckpoint(path, { inside: "${choices[0]}" })`);
    this.problem = printable(problem);
    this.choices = choices.map(printable);
  }
}

/** Prefixes to look at, for files that hold many models. */
const maxPrefixes = 32;

/**
 * Finds the only VQGAN among tensors.
 * @param inside the prefix to take it from, with or without its last dot; by default any
 */
export function findModel(stored: ReadonlyMap<string, StoredTensor>, inside?: string): Search {
  const wanted = inside === undefined ? null : inside === "" || inside.endsWith(".") ? inside : `${inside}.`;
  const found = [...prefixesIn(stored)].flatMap((prefix) => {
    const kind = familyOf(stored, prefix);
    return kind ? [{ prefix, kind }] : [];
  });
  const models = found.flatMap(({ prefix, kind }) => "read" in kind ? [{ prefix, family: kind }] : []);
  // a model whose keys stand as they are is the file's own, whatever copies lie beside it
  const chosen = models.filter(({ prefix }) => wanted === null ? prefix === "" : prefix === wanted);
  const model = chosen[0] ?? (wanted === null && models.length === 1 ? models[0] : undefined);
  if (model) return { tensors: model.family.read(below(stored, model.prefix)), model };
  return {
    tensors: new Map(stored),
    model: { problem: problemOf(stored, found, wanted), choices: models.map(shortName) },
  };
}

function problemOf(
  stored: ReadonlyMap<string, StoredTensor>,
  found: readonly { prefix: string; kind: Family | Stranger }[],
  wanted: string | null,
): string {
  const models = found.filter(({ kind }) => "read" in kind);
  const places = models.map(shortName).join(" and ");
  if (wanted !== null) {
    return `there is no VQGAN under ${wanted}${places === "" ? "" : `; there is one under ${places}`}`;
  }
  if (models.length > 1) return `it holds ${models.length} VQGANs, under ${places}`;
  const stranger = found.find((one) => "reason" in one.kind);
  if (stranger && "reason" in stranger.kind) {
    const { prefix, kind } = stranger;
    return `this is ${kind.name}${prefix === "" ? "" : ` (under ${shortName(stranger)})`}: ${kind.reason}`;
  }
  if (stored.size === 0) return "there are no tensors in it";
  const parts = [...new Set([...stored.keys()].map((key) => key.split(".", 1)[0]!.slice(0, 40)))];
  const shown = parts.slice(0, 6).join(", ") + (parts.length > 6 ? `, and ${parts.length - 6} more` : "");
  return `not a VQGAN that is known here, under any prefix: its ${stored.size} tensors are named ${shown}`;
}

/** A prefix without its last dot, shortened if it is long. */
function shortName({ prefix }: { readonly prefix: string }): string {
  return prefix.length > 60 ? `${prefix.slice(0, 60)}...` : prefix.slice(0, -1);
}

/** What stands before the landmarks of families, shortest first. */
function prefixesIn(stored: ReadonlyMap<string, StoredTensor>): string[] {
  const landmarks = [...new Set(families.flatMap((family) => family.landmarks))];
  const prefixes = new Set<string>();
  for (const key of stored.keys()) {
    if (isTrainingState(key)) continue;
    for (const landmark of landmarks) {
      if (key === landmark) prefixes.add("");
      else if (key.endsWith(landmark) && key[key.length - landmark.length - 1] === ".") {
        prefixes.add(key.slice(0, -landmark.length));
      }
    }
    if (prefixes.size >= maxPrefixes) break;
  }
  return [...prefixes].sort((a, b) => a.length - b.length);
}

function familyOf(stored: ReadonlyMap<string, StoredTensor>, prefix: string): Family | Stranger | undefined {
  const keys: Keys = {
    has: (key) => stored.has(prefix + key),
    shape: (key) => stored.get(prefix + key)?.shape,
  };
  return families.find((family) => family.isOne(keys));
}

/** The tensors whose keys begin with a prefix, without it. */
function below(stored: ReadonlyMap<string, StoredTensor>, prefix: string): Map<string, StoredTensor> {
  if (prefix === "") return new Map(stored);
  return new Map(
    [...stored].filter(([key]) => key.startsWith(prefix)).map(([key, t]) => [key.slice(prefix.length), t]),
  );
}

/** Names the model of a file in a few words, unless it is an ordinary one: "LlamaGen's VQModel, under model". */
export function describeModel(model: FoundModel | NoModel): string | null {
  if (!("family" in model)) return null;
  const { prefix, family } = model;
  if (prefix !== "") return `${family.name}, under ${shortName(model)}`;
  return family === taming ? null : family.name;
}
