// What package.test.ts type-checks as a consumer of the package.
import { asyncScope, type Tensor, tensor, VQGAN } from "@tessera/vqgan";
import * as core from "@tessera/vqgan/core";

const x: Tensor = tensor([1, 2], [2]);
export const y: core.Tensor = x.mul(2).add(x);
export const description: string = (await core.device("cpu", { maxBytes: 2 ** 29 })).description;
await asyncScope(async () => console.log((await VQGAN.load("last.ckpt")).config.nEmbed, await y.floats()));
