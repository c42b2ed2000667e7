// What package.test.ts runs without any permission: everything is imported, and the CPU computes on all threads.
import { device, tensor } from "@tessera/vqgan";

await device("cpu");
console.log([...await tensor([1, 2], [2]).mul(2).floats()].join());
