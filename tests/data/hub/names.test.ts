// The names of checkpoints on the network.
import { describe, expect, test } from "bun:test";
import { isSafePath, parseName } from "../../../data/hub/names.ts";

const hub = "https://huggingface.co";
const parsed = (text: string, endpoint = hub) => {
  const name = parseName(text, endpoint);
  return name.kind === "web" ? name.url.href : [name.repo, name.revision, name.path];
};

describe("names", () => {
  test("of repositories, with revisions and paths", () => {
    for (
      const [text, expected] of [
        ["hf:boris/vqgan_f16_16384", ["boris/vqgan_f16_16384", "main", null]],
        ["HF:o/n", ["o/n", "main", null]],
        ["hf:o/n@v1.0/a/b.ckpt", ["o/n", "v1.0", "a/b.ckpt"]],
        ["hf:o/n/a@b.ckpt", ["o/n", "main", "a@b.ckpt"]],
        ["hf:o/n@refs/pr/12/a.ckpt", ["o/n", "refs/pr/12", "a.ckpt"]],
        ["hf:o/n@feature%2Fx/a.ckpt", ["o/n", "feature/x", "a.ckpt"]],
        ["hf:o/n/folder/", ["o/n", "main", "folder"]],
        // as Python's huggingface_hub writes them
        ["hf://o/n@v1/a.ckpt", ["o/n", "v1", "a.ckpt"]],
        ["hf://models/o/n", ["o/n", "main", null]],
      ] as const
    ) expect([text, parsed(text)]).toEqual([text, expected]);
  });

  test("are also the addresses of the hub's pages", () => {
    for (
      const [text, expected] of [
        ["https://huggingface.co/o/n", ["o/n", "main", null]],
        ["https://huggingface.co/o/n/tree/main", ["o/n", "main", null]],
        ["https://huggingface.co/o/n/tree/v1/sub", ["o/n", "v1", "sub"]],
        ["https://huggingface.co/o/n/blob/main/a%20b.ckpt", ["o/n", "main", "a b.ckpt"]],
        ["https://hf.co/o/n/resolve/refs%2Fpr%2F1/a.ckpt?download=true", ["o/n", "refs/pr/1", "a.ckpt"]],
        [
          "https://huggingface.co/datasets/o/n/resolve/main/a.ckpt",
          "https://huggingface.co/datasets/o/n/resolve/main/a.ckpt",
        ],
        ["https://example.org/o/n/resolve/main/a.ckpt#top", "https://example.org/o/n/resolve/main/a.ckpt"],
      ] as const
    ) expect([text, parsed(text)]).toEqual([text, expected]);
    expect(parsed("https://mirror.org/hf/o/n/blob/main/a.ckpt", "https://mirror.org/hf")).toEqual([
      "o/n",
      "main",
      "a.ckpt",
    ]);
  });

  test("that are malformed say how they are written, without control characters", () => {
    for (
      const [text, problem] of [
        ["hf:", "names no repository"],
        ["hf:vqgan", "names no repository"],
        ["hf:/n", '"" cannot be the name'],
        ["hf:o/n--m", '"n--m" cannot be the name'],
        ["hf:o/n.git", '"n.git" cannot be the name'],
        ["hf:o/..", '".." cannot be the name'],
        ["hf:o o/n", '"o o" cannot be the name'],
        ["hf:o/n@", '"" cannot be a revision'],
        ["hf:o/n@..%2F..%2Fx", '"../../x" cannot be a revision'],
        ["hf:o/n/../../x", '"../../x" cannot be a path'],
        ["hf:o/n//x", '"/x" cannot be a path'],
        ["hf:o/n/C:/x", '"C:/x" cannot be a path'],
        ["hf:o/n/a\\b", "cannot be a path"],
        ["hf:datasets/o/n", "only repositories of models"],
        ["hf:o/n/\x1b[31m", '"\\u001b[31m" cannot be a path'],
        ["https://", "not a web address"],
      ] as const
    ) {
      let message = "";
      try {
        parseName(text, hub);
      } catch (error) {
        message = (error as Error).message;
      }
      expect([text, message]).toEqual([text, expect.stringContaining(problem)]);
      expect(message).not.toMatch(/\p{Cc}/u);
    }
    // the password of an address is not repeated
    expect(() => parseName("https://me:secret@example.org/a.ckpt", hub)).toThrow(
      /^example\.org: addresses with a password/,
    );
  });

  test("of files that would leave the cache are not safe", () => {
    const bad = ["..", "a/../b", "/a", "a//b", "./a", "a/", "a\\..\\b", "C:a", "a\0", "", "x".repeat(2000)];
    for (const path of bad) expect([path, isSafePath(path)]).toEqual([path, false]);
    for (const path of ["a", "a/b c/..d", "ünï/ckpt"]) expect([path, isSafePath(path)]).toEqual([path, true]);
  });
});
