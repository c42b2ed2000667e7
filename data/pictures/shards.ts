// Divides pictures into shards, so that many workers can go through them, each through its own.
import { createHash } from "node:crypto";
import { isArchive } from "./archive.ts";
import { listFiles, type ListOptions } from "./list.ts";

/** One of n parts of the work, counted from 1. "2/8" is the second of eight. */
export interface Shard {
  readonly part: number;
  readonly of: number;
}

/** What sources name, archives not opened, divided into shards. */
export class Corpus {
  /** The number of shards. */
  readonly of: number;
  /** How many pictures or archives were named a second time. */
  readonly repeated: number;
  /** The shard of each picture and of each archive, in their order. */
  readonly #parts: ReadonlyMap<string, number>;

  private constructor(of: number, parts: ReadonlyMap<string, number>, repeated: number) {
    this.of = of;
    this.#parts = parts;
    this.repeated = repeated;
  }

  /**
   * Lists the sources and divides them. Archives are dealt out whole, in the order of their names, so that each shard has as
   * many as the others, and archives whose names come last can be added later. The shard of a picture follows from a hash of
   * its name: pictures that are added later move no others, whatever their names.
   * @throws as `listImages` does
   */
  static async list(sources: readonly string[], of: number, options: ListOptions = {}): Promise<Corpus> {
    const names = new Set<string>();
    let named = 0;
    for (const source of sources) {
      const onFound = (found: number) => options.onFound?.(named + found);
      const found = await listFiles(source, { ...options, onFound });
      for (const path of found) names.add(path);
      named += found.length;
    }
    for (const name of names) if (archiveOf(name, names) !== null) names.delete(name); // it comes with its archive
    const archives = new Map([...names].filter(isArchive).sort().map((name, i) => [name, i % of + 1]));
    const parts = new Map([...names].map((name) => [name, archives.get(name) ?? partOfPicture(name, of)]));
    return new Corpus(of, parts, named - names.size);
  }

  /** The pictures and archives of one shard, in order. */
  *shard(part: number): Generator<string> {
    for (const [name, own] of this.#parts) if (own === part) yield name;
  }

  /** The shard to which a picture belongs, by its name; null if the sources do not have it. */
  partOf(picture: string): number | null {
    const own = this.#parts.get(picture);
    if (own !== undefined) return own;
    const archive = archiveOf(picture, this.#parts);
    return archive === null ? null : this.#parts.get(archive)!;
  }
}

/** The archive among these paths in which a picture with this name is. */
function archiveOf(picture: string, paths: { has(path: string): boolean }): string | null {
  for (const { index } of picture.matchAll(/\.tar[/\\]/gi)) {
    const path = picture.slice(0, index + ".tar".length);
    if (paths.has(path)) return path;
  }
  return null;
}

function partOfPicture(name: string, of: number): number {
  return createHash("sha256").update(name).digest().readUInt32LE() % of + 1;
}
