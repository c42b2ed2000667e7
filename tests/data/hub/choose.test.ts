// Which file of a repository is meant.
import { describe, expect, test } from "bun:test";
import { chooseFile, companionOf } from "../../../data/hub/choose.ts";
import { parseName } from "../../../data/hub/names.ts";

const choose = (text: string, files: readonly string[]): string => {
  const name = parseName(text, "https://huggingface.co");
  if (name.kind === "web") throw new Error("not a name of the hub");
  return chooseFile(name, files);
};

describe("the file that a name means", () => {
  test("is the one that Tessera reads best", () => {
    for (
      const [expected, ...others] of [
        ["model.ckpt", "config.yaml", "README.md", ".gitattributes"],
        ["flax_model.msgpack", "config.json", "README.md"],
        ["model.ckpt", "flax_model.msgpack", "config.json", "model.safetensors"],
        ["model.safetensors", "pytorch_model.bin", "config.json"],
        ["pytorch_model.bin", "optimizer.bin", "training_args.bin", "scheduler.pt", "rng_state_0.pth"],
        [
          "vqvae/diffusion_pytorch_model.safetensors",
          "unet/diffusion_pytorch_model.safetensors",
          "vqvae/config.json",
        ],
        ["vqvae/diffusion_pytorch_model.safetensors", "vqvae/diffusion_pytorch_model.fp16.safetensors"],
        ["vqgan.pt", "dalle.ckpt", "clip.safetensors"],
        ["last.ckpt", "old/last.ckpt"],
        ["model.pt", "model-00001-of-00002.safetensors"],
      ]
    ) {
      for (const files of [[expected, ...others], [...others, expected]]) {
        expect(choose("hf:o/n", files)).toBe(expected);
      }
    }
  });

  test("is the one that is named, or the best of the folder that is named", () => {
    const files = ["README.md", "a/x.pt", "a/y.ckpt", "b/x.ckpt", "b/z.ckpt"];
    expect(choose("hf:o/n/README.md", files)).toBe("README.md");
    expect(choose("hf:o/n/a/x.pt", files)).toBe("a/x.pt");
    expect(choose("hf:o/n/a", files)).toBe("a/y.ckpt");
  });

  test("is an error if several fit equally well, if there is none, or it is not there", () => {
    const files = ["b/x.ckpt", "b/z.ckpt", "a.txt"];
    expect(() => choose("hf:o/n@v1", files)).toThrow(
      "hf:o/n@v1: several files fit equally well: b/x.ckpt, b/z.ckpt; name one, such as hf:o/n@v1/b/x.ckpt",
    );
    expect(() => choose("hf:o/n/b/y.ckpt", files)).toThrow(
      "hf:o/n/b/y.ckpt: the repository has no checkpoint b/y.ckpt; it has b/x.ckpt, b/z.ckpt",
    );
    expect(() => choose("hf:o/n", ["a.txt", "\x1b[2J.md"])).toThrow(
      "in this repository, only a.txt, \\u001b[2J.md",
    );
    expect(() => choose("hf:o/n", [])).toThrow("hf:o/n: this repository is empty");
  });

  test("comes with the config.json in its folder", () => {
    expect(companionOf("flax_model.msgpack")).toBe("config.json");
    expect(companionOf("vq/model.safetensors")).toBe("vq/config.json");
  });
});
