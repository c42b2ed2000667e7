// What wasm/process.test.ts runs in a process of its own: the library without `process`, as a web page has it. One JSON line.
Reflect.deleteProperty(globalThis, "process");
const { currentBackend, matmul, ones } = await import("../../src/index.ts");
const sum = await matmul(ones([300, 64]), ones([64, 300])).square().sum().item(); // kernels of many tiles
console.log(JSON.stringify([currentBackend().description, sum / 300 ** 2]));
export {};
