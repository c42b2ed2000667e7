// The keys of taming's state_dict: which part of the model a key belongs to, and the order of the keys, which is the
// order in which the modules are created. torch's optimizers identify parameters by their position in this order and
// not by name.

/** The names of modules at all levels. Of two names in the same module, the one that is created first comes first. */
const names = [
  ...["encoder", "decoder", "loss", "quantize", "quant_conv", "post_quant_conv"],
  ...["conv_in", "down", "mid", "up", "norm_out", "conv_out"],
  ...["block", "attn", "downsample", "upsample", "block_1", "attn_1", "block_2"],
  ...["norm", "norm1", "conv1", "norm2", "conv2", "nin_shortcut", "q", "k", "v", "proj_out"],
  ...["perceptual_loss", "discriminator", "scaling_layer", "shift", "scale", "net"],
  ...["weight", "bias", "running_mean", "running_var", "num_batches_tracked"],
];
const places = new Map(names.map((name, place) => [name, place]));

/**
 * Sorts state_dict keys into taming's order. Names that taming does not have come last, in the given order. List
 * positions, and names that differ only in a number at the end, are sorted by that number.
 * @example
 * ```ts
 * tamingOrder(["decoder.conv_in.bias", "encoder.conv_in.weight"]); // the encoder's first
 * ```
 */
export function tamingOrder(keys: Iterable<string>): string[] {
  const stems = new Map(places);
  const rank = (name: string): [place: number, number: number] => {
    const known = places.get(name);
    if (known !== undefined) return [known, 0];
    // not by a regular expression, which would begin again at each of the digits of a long name
    let from = name.length;
    while (from > 0 && name[from - 1]! >= "0" && name[from - 1]! <= "9") from--;
    const stem = name.slice(0, from);
    if (!stems.has(stem)) stems.set(stem, stems.size);
    return [stems.get(stem)!, Number(name.slice(from))];
  };
  const ranked = [...keys].map((key) => ({ key, ranks: key.split(".").flatMap(rank) }));
  return ranked.sort((a, b) => {
    const at = a.ranks.findIndex((n, i) => n !== b.ranks[i]);
    return at < 0 ? a.ranks.length - b.ranks.length : a.ranks[at]! - (b.ranks[at] ?? -1);
  }).map(({ key }) => key);
}

/** The keys of the parameters that an optimizer trains: all of a part except its running statistics. */
export function learntKeys(keys: Iterable<string>, prefix: "autoencoder" | "loss.discriminator."): string[] {
  const isWanted = (key: string) => prefix === "autoencoder" ? isAutoencoder(key) : key.startsWith(prefix);
  return tamingOrder(keys).filter((key) =>
    isWanted(key) && !/\.(running_mean|running_var|num_batches_tracked)$/.test(key)
  );
}

const autoencoder = ["encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv."];

/**
 * Whether a tensor belongs to the autoencoder, which encodes and decodes. All others belong to the loss: the
 * discriminator and the perceptual network, which only training needs.
 */
export function isAutoencoder(key: string): boolean {
  return autoencoder.some((part) => key.startsWith(part));
}

/** Returns the name of a moment in safetensors files, such as optimizer.0.exp_avg.encoder.conv_in.weight. */
export function momentName(optimizer: number, moment: "exp_avg" | "exp_avg_sq", key: string): string {
  return `optimizer.${optimizer}.${moment}.${key}`;
}

/** The names of the averages of weights (train/ema.ts) begin so. */
const averages = "training.ema.";

/** The averages of weights in a file of a run, by the keys of the weights. */
export function averagesIn<T>(stored: ReadonlyMap<string, T>): Map<string, T> {
  const found = [...stored].filter(([name]) => name.startsWith(averages));
  return new Map(found.map(([name, average]) => [name.slice(averages.length), average]));
}

/** Whether this is the name of something that only a training goes on with: a moment of Adam, or an average (train_state.ts). */
export function isTrainingState(name: string): boolean {
  return name.startsWith("optimizer.") || name.startsWith("training.");
}
