// vqgan-jax's names, which Flax files have: a level is a module of its own (down_0), and parameters are called as in Flax
// (kernel, scale, embedding). A Flax file is read and written under taming's names (flax/), so this is no family of the
// registry.

/**
 * Converts ["encoder", "down_0", "block_1", "conv1", "kernel"] to encoder.down.0.block.1.conv1.weight. Names within
 * `mid` are the same as taming's.
 */
export function fromFlax(path: readonly string[]): string {
  return path.map((name, i) => {
    if (i === path.length - 1) {
      return ["kernel", "scale", "embedding"].includes(name) ? "weight" : name;
    }
    return path[i - 1] === "mid" ? name : name.replace(/^(down|up|block|attn)_(\d+)$/, "$1.$2");
  }).join(".");
}

/** The reverse of `fromFlax`. The shape tells a norm's scale from a kernel. */
export function toFlax(key: string, shape: readonly number[]): string[] {
  const path = key.replace(/(^|\.)(down|up|block|attn)\.(\d+)(?=\.)/g, "$1$2_$3").split(".");
  if (path.at(-1) === "weight") {
    path[path.length - 1] = path.at(-2) === "embedding" ? "embedding" : shape.length > 1 ? "kernel" : "scale";
  }
  return path;
}
