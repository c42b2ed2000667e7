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
 * State_dict keys as taming orders them; names that it does not have keep their order, after those that it has.
 * @example tamingOrder(["decoder.conv_in.bias", "encoder.conv_in.weight"]) // the encoder's first
 */
export function tamingOrder(keys: Iterable<string>): string[] {
  return [...keys].map((key) => key.split(".")).sort((a, b) => {
    for (let i = 0; i < Math.min(a.length, b.length); i++) {
      const difference = compare(a[i]!, b[i]!);
      if (difference !== 0) return difference;
    }
    return a.length - b.length;
  }).map((path) => path.join("."));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  // positions in lists, and the numbered slice1, lin0 of the perceptual network
  const [, nameA = "", numberA] = /^(\D*)(\d+)$/.exec(a) ?? [],
    [, nameB = "", numberB] = /^(\D*)(\d+)$/.exec(b) ?? [];
  if (!places.has(a) && !places.has(b) && numberA !== undefined && nameA === nameB) {
    return Number(numberA) - Number(numberB);
  }
  return (places.get(a) ?? names.length) - (places.get(b) ?? names.length);
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
