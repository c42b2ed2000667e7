// The folder of one repository in the cache of Python's huggingface_hub, which this shares:
//   models--owner--name/refs/main                the commit of a branch
//   models--owner--name/blobs/<hash>             the files
//   models--owner--name/snapshots/<commit>/...   links to them, under the names that they have in the repository
import { copyFile, mkdir, readdir, readFile, rename, stat, symlink, unlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { isGranted, variable } from "../../src/environment.ts";
import { writeAtomic } from "../files/atomic.ts";
import { isCommit } from "./names.ts";

export class RepositoryCache {
  readonly #root: string;
  readonly #folder: string;
  readonly #name: string;

  /** @param root the folder with all repositories @param repo owner/name */
  constructor(root: string, repo: string) {
    this.#root = root;
    this.#name = `models--${repo.replace("/", "--")}`;
    this.#folder = join(root, this.#name);
  }

  /** The commit that a branch or a tag had when it was last looked up; null if it never was. */
  async commitOf(revision: string): Promise<string | null> {
    if (isCommit(revision)) return revision;
    const commit = await readFile(join(this.#folder, "refs", ...revision.split("/")), "utf8").catch(() => "");
    return isCommit(commit.trim()) ? commit.trim() : null;
  }

  /** Notes the commit of a branch or a tag. A cache that may only be read stays as it is. */
  async remember(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || await this.commitOf(revision) === commit) return;
    const path = join(this.#folder, "refs", ...revision.split("/"));
    try {
      await mkdir(dirname(path), { recursive: true });
      await writeAtomic(path, (file) => file.writeFile(commit)); // Python expects no line break
    } catch {
      // the file is found by its commit next time
    }
  }

  /** The path of a file of a commit, whether it is there or not. */
  path(commit: string, file: string): string {
    return join(this.#folder, "snapshots", commit, ...file.split("/"));
  }

  /** The path of a file's content, and of the lock of its download. */
  blob(hash: string): { readonly path: string; readonly lock: string } {
    return {
      path: join(this.#folder, "blobs", hash),
      lock: join(this.#root, ".locks", this.#name, `${hash}.tessera.lock`),
    };
  }

  /** Whether a file of a commit is there. @param size what it must have, if that is known */
  async has(commit: string, file: string, size?: number): Promise<boolean> {
    const info = await stat(this.path(commit, file)).catch(() => null); // follows links
    return info !== null && info.isFile() && (size === undefined || info.size === size);
  }

  /** The files of a commit that are there. */
  async files(commit: string): Promise<string[]> {
    const found: string[] = [];
    const visit = async (folder: string): Promise<void> => {
      for (const entry of await readdir(this.path(commit, folder), { withFileTypes: true }).catch(() => [])) {
        const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
        if (entry.isDirectory()) await visit(path);
        else if (await this.has(commit, path)) found.push(path);
      }
    };
    await visit("");
    return found.sort();
  }

  /**
   * Makes a file of a commit from its content, by a link. Where links cannot be made (Windows may not allow them), Python moves
   * the content there, or copies it if it was needed before; so does this.
   * @param isNew whether the content was downloaded just now
   */
  async link(commit: string, file: string, hash: string, isNew: boolean): Promise<void> {
    const path = this.path(commit, file), blob = this.blob(hash).path;
    await mkdir(dirname(path), { recursive: true });
    await unlink(path).catch(() => {}); // a link that leads nowhere, or a file that was cut off
    if (canLink()) {
      try {
        return await symlink(relative(dirname(path), blob), path);
      } catch (error) {
        if (await this.has(commit, file)) return; // another process was faster
        if ((error as { code?: string }).code === "ENOSPC") throw error;
      }
    }
    if (isNew) return await rename(blob, path);
    const copy = `${blob}.tessera-copy.incomplete`;
    await copyFile(blob, copy);
    await rename(copy, path);
  }
}

/** Whether links may be made. Deno allows them only to programs that may read and write everywhere. */
function canLink(): boolean {
  return !/^(1|on|yes|true)$/i.test(variable("HF_HUB_DISABLE_SYMLINKS") ?? "") &&
    isGranted({ name: "read" }) &&
    isGranted({ name: "write" });
}
