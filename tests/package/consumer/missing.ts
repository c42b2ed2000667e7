// What package.test.ts runs where an optional package is missing: asks for it, and prints the error.
import { device } from "@tessera/vqgan";

console.log(await device("gpujs").then(() => "it is there", (error: Error) => error.message));
