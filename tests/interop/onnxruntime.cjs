// The other side of onnx.test.ts, for Node: what onnxruntime makes of Tessera's ONNX files.
//     node onnxruntime.cjs onnxruntime-node|onnxruntime-web JOB.json
// The job names the files and holds pixels; tokens and pixels are printed as JSON. ONNXRUNTIME is the folder of the packages.
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { join } = require("node:path");

const [name, job] = process.argv.slice(2);
const ort = createRequire(join(process.env.ONNXRUNTIME, "package.json"))(name);

async function main() {
  const { encoder, decoder, pixels, shape } = JSON.parse(readFileSync(job, "utf8"));
  const open = (path) => ort.InferenceSession.create(new Uint8Array(readFileSync(path)));
  const images = new ort.Tensor("float32", Float32Array.from(pixels), shape);
  const { tokens } = await (await open(encoder)).run({ pixels: images });
  const made = await (await open(decoder)).run({ tokens });
  const answer = {
    tokens: { values: [...tokens.data], shape: tokens.dims },
    pixels: { values: [...made.pixels.data], shape: made.pixels.dims },
  };
  process.stdout.write(JSON.stringify(answer), () => process.exit(0)); // its threads would keep the process
}
main();
