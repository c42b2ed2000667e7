// taming's remap in both kinds of quantizer: only some codes have a token, and tokens are places in their list.
import { expect, test } from "bun:test";
import { GumbelQuantizer } from "../../../nn/quantizers/gumbel_quantizer.ts";
import { VectorQuantizer } from "../../../nn/quantizers/vector_quantizer.ts";
import { asyncScope, Random, tensor } from "../../../src/index.ts";

const codes = 12, channels = 5, list = [7, 0, 11, 4, 2];

for (
  const [name, make] of [
    [
      "vectors",
      () => new VectorQuantizer(codes, channels, { beta: 0.25, legacyBeta: true, remap: 5 }, new Random(1)),
    ],
    ["logits", () => new GumbelQuantizer(codes, channels, new Random(1), 5)],
  ] as const
) {
  test(`tokens by ${name}: that of the code if it has one, else the best of those that have one`, async () => {
    await asyncScope(async () => {
      const quantizer = make(), used = quantizer.used!;
      used.write(Int32Array.from(list));
      const z = new Random(2).normal([3, 10, channels], 0, 0.1);
      const raw = await quantizer.encode(z).ints(), tokens = await quantizer.encode(z, used).ints();
      const places = [...raw].map((code) => list.indexOf(code));
      expect(places.filter((place) => place >= 0).length).toBeGreaterThan(5);
      expect(places.filter((place) => place < 0).length).toBeGreaterThan(5);
      expect([...tokens].map((token, i) => places[i] < 0 ? -1 : token)).toEqual(places);
      expect(Math.max(...tokens)).toBeLessThan(list.length);
      // the others: as if there were only these codes
      const few = name === "vectors"
        ? new VectorQuantizer(5, channels, { beta: 0.25, legacyBeta: true }, null)
        : new GumbelQuantizer(5, channels, null);
      few.codebook.assign(quantizer.lookup(tensor(Int32Array.from(list))));
      if (few instanceof GumbelQuantizer && quantizer instanceof GumbelQuantizer) {
        for (const [to, code] of list.entries()) {
          few.proj.weight.write(
            await quantizer.proj.weight.slice([code, 0, 0, 0], [code + 1, channels, 1, 1]).floats(),
            to * channels,
          );
          few.proj.bias!.write(await quantizer.proj.bias!.slice([code], [code + 1]).floats(), to);
        }
      }
      expect(await few.encode(z).ints()).toEqual(tokens);
      const looked = quantizer.lookup(tensor(tokens), used), direct = few.lookup(tensor(tokens));
      expect(await looked.floats()).toEqual(await direct.floats());
    });
  });
}
