// The order in which taming's modules were made. A state_dict lists its tensors so, and torch's optimizers know
// parameters by their place in it and not by name.

/** Names at any level, sorted; where two stand side by side in one module, the first was made first. */
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
 * State_dict keys as taming orders them. Names that it does not have come after those that it has, as they were; those
 * that differ in a number at their end, and places in lists, by that number.
 * @example tamingOrder(["decoder.conv_in.bias", "encoder.conv_in.weight"]) // the encoder's first
 */
export function tamingOrder(keys: Iterable<string>): string[] {
  const stems = new Map(places);
  const rank = (name: string): [place: number, number: number] => {
    const known = places.get(name);
    if (known !== undefined) return [known, 0];
    const digits = /\d*$/.exec(name)![0], stem = name.slice(0, name.length - digits.length);
    if (!stems.has(stem)) stems.set(stem, stems.size);
    return [stems.get(stem)!, Number(digits)];
  };
  const ranked = [...keys].map((key) => ({ key, ranks: key.split(".").flatMap(rank) }));
  return ranked.sort((a, b) => {
    const at = a.ranks.findIndex((n, i) => n !== b.ranks[i]);
    return at < 0 ? a.ranks.length - b.ranks.length : a.ranks[at]! - (b.ranks[at] ?? -1);
  }).map(({ key }) => key);
}

/** What an optimizer learns among these keys: everything but statistics that are only kept. */
export function learntKeys(keys: Iterable<string>, prefix: "autoencoder" | "loss.discriminator."): string[] {
  const isWanted = (key: string) => prefix === "autoencoder" ? isAutoencoder(key) : key.startsWith(prefix);
  return tamingOrder(keys).filter((key) =>
    isWanted(key) && !/\.(running_mean|running_var|num_batches_tracked)$/.test(key)
  );
}

const parts = ["encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv."];

/** Whether encoding and decoding need this tensor. */
export function isAutoencoder(key: string): boolean {
  return parts.some((part) => key.startsWith(part));
}
