// The program that wasm/process.test.ts runs in a process of its own: the library without `process`, as in a web page. It
// prints one JSON line.
Reflect.deleteProperty(globalThis, "process");
const { currentBackend, matmul, ones } = await import("../../src/index.ts");
const sum = await matmul(ones([300, 64]), ones([64, 300])).square().sum().item(); // large enough for kernels with many tiles
console.log(JSON.stringify([currentBackend().description, sum / 300 ** 2]));
export {};
