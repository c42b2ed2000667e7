// ONNX files as ONNX's own schema reads them. tests/interop/onnx.test.ts runs them in onnxruntime.
import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { preset } from "../../../../data/formats/config.ts";
import { type ModelProto, ModelProtoSchema } from "../../../../data/formats/onnx/schema.ts";
import {
  configOf,
  convertCheckpoint,
  type ConvertOptions,
  openCheckpoint,
  writeSafetensors,
} from "../../../../data/index.ts";
import { VQGAN } from "../../../../nn/index.ts";
import { Random } from "../../../../src/index.ts";
import { saveWeights } from "../../../../train/index.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds

const folder = await mkdtemp(join(tmpdir(), "tessera-onnx-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

const model = new VQGAN(
  preset("faces", {
    ...{ embedDim: 8, nEmbed: 16 },
    ddconfig: { ch: 32, chMult: [1, 2], resolution: 16, attnResolutions: [8], zChannels: 32 },
  }),
  new Random(1),
);
await saveWeights(at("small.safetensors"), model);
const file = await openCheckpoint(at("small.safetensors"));
const { config } = configOf(file);
afterAll(() => {
  model.dispose();
  return file.close();
});

async function written(name: string, options: Partial<ConvertOptions> = {}): Promise<ModelProto[]> {
  const paths = await convertCheckpoint(file, at(name), { config, ...options });
  expect(paths).toEqual(["encoder", "decoder"].map((half) => at(name.replace(".onnx", `.${half}.onnx`))));
  return await Promise.all(paths.map(async (path) => fromBinary(ModelProtoSchema, await readFile(path))));
}

const shapeOf = (port: NonNullable<ModelProto["graph"]>["input"][number]) => {
  const type = port.type!.value.value!;
  return [type.elemType, ...type.shape!.dim.map(({ value }) => value.value)];
};

describe("convertCheckpoint to .onnx", () => {
  test("writes two graphs whose inputs and outputs have any batch, height and width", async () => {
    const [encode, decode] = (await written("plain.onnx")).map(({ graph }) => graph!);
    const pixels = ["pixels", 1, "batch", 3n, "height", "width"];
    const tokens = ["tokens", 6, "batch", "rows", "columns"];
    for (const [graph, input, output] of [[encode, pixels, tokens], [decode, tokens, pixels]] as const) {
      expect(graph.input.map((port) => [port.name, ...shapeOf(port)])).toEqual([input]);
      expect(graph.output.map((port) => [port.name, ...shapeOf(port)])).toEqual([output]);
    }
  });

  test("gives every node inputs that exist, in order, and names no value twice", async () => {
    for (const { graph } of await written("names.onnx")) {
      const known = new Set([...graph!.input, ...graph!.initializer].map(({ name }) => name));
      known.add(""); // an optional input that is left out
      expect(known.size).toBe(graph!.input.length + graph!.initializer.length + 1);
      for (const { input, output } of graph!.node) {
        for (const name of input) expect(known.has(name)).toBe(true);
        for (const name of output) {
          expect(known.has(name)).toBe(false);
          known.add(name);
        }
      }
      for (const { name } of graph!.output) expect(known.has(name)).toBe(true);
    }
  });

  test("keeps the bits of every weight, and rounds them to half the size with dtype f16", async () => {
    const key = "decoder.up.0.block.0.conv1.weight";
    const weight = (models: ModelProto[]) => models[1].graph!.initializer.find(({ name }) => name === key)!;
    const plain = weight(await written("plain.onnx")),
      half = weight(await written("half.onnx", { dtype: "f16" }));
    const bytes = Uint8Array.from(plain.rawData);
    expect(new Float32Array(bytes.buffer)).toEqual(
      await file.tensors.get(key)!.read() as Float32Array<ArrayBuffer>,
    );
    expect([plain.dataType, half.dataType]).toEqual([1, 10]);
    expect(half.rawData.length * 2).toBe(plain.rawData.length);
  });

  test("says in the metadata what pixels and tokens are, and which model it was", async () => {
    for (const { metadataProps, opsetImport, producerName } of await written("about.onnx")) {
      const metadata = Object.fromEntries(metadataProps.map(({ key, value }) => [key, value]));
      expect(metadata.pixels).toContain("from -1 to 1");
      expect(metadata.tokens).toContain("from 0 to 15");
      expect(JSON.parse(metadata.config)).toEqual(config);
      expect([producerName, opsetImport[0].version]).toEqual(["tessera", 17n]);
    }
  });

  test("refuses what is no VQGAN, and bf16, and leaves nothing behind", async () => {
    await expect(written("bf16.onnx", { dtype: "bf16" })).rejects.toThrow("use f16 or f32");
    const data = () => new Float32Array(2);
    await writeSafetensors(at("other.safetensors"), [{ name: "w", shape: [2], dtype: "f32", data }]);
    const other = await openCheckpoint(at("other.safetensors"));
    await expect(convertCheckpoint(other, at("other.onnx"), { config: null })).rejects.toThrow(
      "is not a VQGAN",
    );
    await other.close();
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error("enough"));
    await expect(written("cut.onnx", { onProgress, signal: controller.signal })).rejects.toThrow("enough");
    expect((await readdir(folder)).filter((name) => /bf16|other.*onnx|cut/.test(name))).toEqual([]);
  });

  test("writes only the half that a file holds", async () => {
    const isDecoder = (key: string) => !/^(encoder|quant_conv)/.test(key);
    const data = (key: string) => () => file.tensors.get(key)!.read();
    const half = [...file.tensors.keys()].filter(isDecoder).map((key) => {
      return { name: key, shape: file.tensors.get(key)!.shape, dtype: "f32", data: data(key) } as const;
    });
    await writeSafetensors(at("half.safetensors"), half);
    const decoder = await openCheckpoint(at("half.safetensors"));
    const { config } = configOf(decoder);
    expect(await convertCheckpoint(decoder, at("half.onnx"), { config })).toEqual([at("half.decoder.onnx")]);
    await decoder.close();
  });
});
