// Several token files as one: the shards that many workers have written, or the files of several corpora. They are read one
// after the other, so that their tokens never have to fit into memory.
import { createHash } from "node:crypto";
import { realpath, stat } from "node:fs/promises";
import { FormatError } from "../formats/source.ts";
import type { Shard } from "../pictures/shards.ts";
import { journalOf } from "./format.ts";
import { firstDifference } from "./kept.ts";
import { openTokens } from "./open.ts";
import type { TokenHeader, TokenRecord } from "./record.ts";

/** A file of a set. */
export interface SetFile {
  readonly path: string;
  readonly header: TokenHeader;
  /** Which shard it is; null for a whole corpus. */
  readonly shard: Shard | null;
  records(): AsyncGenerator<TokenRecord>;
}

/**
 * Opens token files that were made by `tessera encode`, shards in their order.
 * @throws FormatError if one is not finished, was given twice, or another program wrote it
 */
export async function openFiles(paths: readonly string[]): Promise<SetFile[]> {
  const files: SetFile[] = [], known = new Map<string, string>();
  for (const path of paths) {
    const { header, records } = await openTokens(path);
    if (header === null) {
      throw new FormatError(
        path,
        "it has no header, so another program made it",
        "give files of tessera encode",
      );
    }
    if (await isThere(journalOf(path))) throw unfinished(path);
    const real = await realpath(path), same = known.get(real);
    if (same !== undefined) {
      throw new FormatError(path, `it is ${same}, which was given already`, "name it once");
    }
    known.set(real, path);
    files.push({ path, header, shard: shardIn(path, header), records });
  }
  const numbered = files.map((file, i) => ({ file, i }));
  numbered.sort((a, b) => (a.file.shard?.part ?? 0) - (b.file.shard?.part ?? 0) || a.i - b.i);
  return numbered.map(({ file }) => file);
}

const isThere = async (path: string): Promise<boolean> => await stat(path).catch(() => null) !== null;

const unfinished = (path: string): FormatError =>
  new FormatError(
    path,
    `it is not finished: there is ${journalOf(path)}`,
    "give the command that encodes it again",
  );

function shardIn(path: string, { shard }: TokenHeader): Shard | null {
  if (shard === null) return null;
  const [, part, of] = /^(\d+)\/(\d+)$/.exec(shard)?.map(Number) ?? [];
  if (part >= 1 && part <= of) return { part, of };
  throw new FormatError(
    path,
    `its header says that it is shard ${JSON.stringify(shard)}`,
    "such as 2/8 is expected",
  );
}

/**
 * Checks that files were made in the same way, and that each corpus among them has all its shards.
 * @throws FormatError naming a file and what does not fit
 */
export async function checkTogether(files: readonly SetFile[]): Promise<void> {
  const [first] = files, corpora = new Map<string, SetFile[]>();
  const way = ({ header }: SetFile): TokenHeader => ({ ...header, source: [], shard: null });
  for (const file of files) {
    const other = firstDifference(way(file), way(first));
    if (other !== null) {
      const what = `${other.field} ${other.before} here, ${other.now} there`;
      throw new FormatError(
        file.path,
        `it was made in another way than ${first.path} (${what})`,
        "encode both alike",
      );
    }
    if (!file.shard) continue;
    const corpus = `${file.shard.of} ${JSON.stringify(file.header.source)}`;
    corpora.set(corpus, [...corpora.get(corpus) ?? [], file]);
  }
  for (const shards of corpora.values()) await checkComplete(shards, files);
}

/** @throws FormatError if a shard is missing or there twice @param files all files, among which one may be the missing one */
async function checkComplete(shards: readonly SetFile[], files: readonly SetFile[]): Promise<void> {
  const found = new Map<number, SetFile>(),
    [{ path, shard: { of } }] = shards as [SetFile & { shard: Shard }];
  for (const file of shards) {
    const { part } = file.shard!, other = found.get(part);
    if (other) {
      throw new FormatError(
        file.path,
        `it is shard ${part} of ${of}, and so is ${other.path}`,
        "name one of them",
      );
    }
    found.set(part, file);
  }
  const missing = Array.from({ length: of }, (_, i) => i + 1).filter((part) => !found.has(part));
  if (missing.length === 0) return;
  const stranger = files.find(({ shard }) => shard?.of === of && missing.includes(shard.part));
  if (stranger) {
    const problem = `it was made of other pictures than ${path}: the sources in their headers differ`;
    throw new FormatError(stranger.path, problem, "encode all shards again, which adds only what is new");
  }
  for (const part of missing) {
    const beside = path.replace(/-\d+-of-(\d+)(\.\w+)$/, `-${part}-of-$1$2`);
    if (beside !== path && await isThere(journalOf(beside))) throw unfinished(beside);
  }
  const listed = missing.length > 10 ? `${missing.slice(0, 10).join(", ")}, ...` : missing.join(", ");
  const what = missing.length === 1
    ? `shard ${listed} of ${of} is missing`
    : `${missing.length} shards of ${of} are missing: ${listed}`;
  throw new FormatError(path, what, "encode them, or name their files too");
}

/**
 * Reads all records of all files.
 * @throws FormatError naming a token outside the vocabulary; at the end, if pictures are there twice
 */
export async function* eachRecord(files: readonly SetFile[]): AsyncGenerator<TokenRecord> {
  const names = new Names();
  for (const { path, header, records } of files) {
    for await (const record of records()) {
      const bad = record.encoding.findIndex((token) => token >= header.vocabulary);
      if (bad >= 0) {
        const problem = `token ${record.encoding[bad]} at place ${bad} of ${record.file} is not in 0..${
          header.vocabulary - 1
        }`;
        throw new FormatError(path, problem, "encode it again");
      }
      names.add(record.file);
      yield record;
    }
  }
  await refuseRepeated(files, names.repeated());
}

/** Reads the files again, with an eye on the names with these hashes. @throws FormatError if one is really there twice */
async function refuseRepeated(files: readonly SetFile[], suspects: ReadonlySet<number>): Promise<void> {
  if (suspects.size === 0) return;
  const seen = new Map<string, string>();
  let first: FormatError | null = null, repeated = 0;
  for (const { path, records } of files) {
    for await (const { file } of records()) {
      if (!suspects.has(hashOf(file))) continue;
      const before = seen.get(file);
      seen.set(file, path);
      if (before === undefined) continue;
      repeated++;
      const where = before === path ? "is in it twice" : `is in ${before} too`;
      first ??= new FormatError(path, `the picture ${file} ${where}`, "leave one of them out");
    }
  }
  if (first === null) return; // two names with one hash
  if (repeated === 1) throw first;
  const { path } = first;
  throw new FormatError(path, `${repeated} pictures are there twice; ${first.message}`);
}

/** Finds names that occur twice by their hashes, because the names of a corpus may not fit into memory. */
class Names {
  #hashes = new Float64Array(1024);
  #length = 0;

  add(name: string): void {
    if (this.#length === this.#hashes.length) {
      const larger = new Float64Array(2 * this.#length);
      larger.set(this.#hashes);
      this.#hashes = larger;
    }
    this.#hashes[this.#length++] = hashOf(name);
  }

  /** The hashes that occur more than once. Of three million names about one time in 2000 two have the same by chance. */
  repeated(): Set<number> {
    const sorted = this.#hashes.subarray(0, this.#length).sort();
    return new Set(sorted.filter((hash, i) => i > 0 && hash === sorted[i - 1]));
  }
}

/** A hash of 53 bits, which a number holds exactly. */
function hashOf(name: string): number {
  const bytes = createHash("sha256").update(name).digest();
  return bytes.readUInt32LE(0) * 2 ** 21 + (bytes.readUInt32LE(4) >>> 11);
}
