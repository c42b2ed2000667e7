// Draws docs/house.svg, the folders of Tessera and which imports which: `deno run -A docs/figures/house.ts`. The folders and
// imports are checked against the sources: a folder that is not described here is an error.
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { type Imports, importsBelow, root } from "../../tests/support/imports.ts";

interface Room {
  /** Its folder, or the files that make it up. */
  readonly name: string;
  readonly text: string;
  /** The line in which the room is drawn. Rooms import only from lines below their own. */
  readonly line: number;
  readonly files: (file: string) => boolean;
}

const folder = (path: string, line: number, text: string): Room => ({
  name: path.slice(path.indexOf("/") + 1) + "/",
  text,
  line,
  files: (file) => file.startsWith(path + "/"),
});
const files = (layer: string, name: string, line: number, text: string, ...names: string[]): Room => ({
  name,
  text,
  line,
  files: (file) => names.some((each) => file === `${layer}/${each}.ts`),
});
/** The files of a layer that are in none of its folders. */
const rest = (layer: string, name: string, line: number, text: string): Room => ({
  name,
  text,
  line,
  files: (file) => dirname(file) === layer,
});

interface Layer {
  readonly name: string;
  readonly text: string;
  readonly rooms: readonly Room[];
}

const layers: readonly Layer[] = [
  {
    name: "cli",
    text: "the command line",
    rooms: [
      rest("cli", "the commands", 0, "encode, decode, demo, ..."),
      folder("cli/evaluate", 0, "how good a model is"),
      folder("cli/finetune", 0, "training from the prompt"),
      folder("cli/tokens", 0, "the files of many workers"),
      folder("cli/doctor", 0, "what this machine offers"),
      folder("cli/bench", 0, "how fast it is"),
      folder("cli/watch", 0, "a run in the browser"),
    ],
  },
  {
    name: "train",
    text: "learning",
    rooms: [
      {
        name: "run/",
        text:
          "a whole run: begins or resumes it (run.ts), runs its steps (loop.ts); its folder and checkpoints",
        line: 0,
        files: (file) => file.startsWith("train/run/") || file === "train/index.ts",
      },
      files("train", "beside it", 1, "start, validation", "start", "validate", "errors", "face_package"),
      files(
        "train",
        "a step",
        1,
        "losses, gradients, Adam",
        "step",
        "step_checks",
        "validation_step",
        "frozen",
        "optimizers",
        "optimizer_options",
        "gan/gan",
        "gan/lecam",
        "gan/options",
        "gan/start",
        "gan/announce",
        "gan/guard",
        "parts",
        "clip",
        "ema",
        "logs",
        "trainer",
        "train_state",
        "weights",
        "adam",
        "identity",
        "loss_scale",
        "estimate",
        "count",
        "advice",
        "metrics",
        "perceptual",
        "schedule",
      ),
      folder("train/evaluate", 1, "measuring models"),
      folder("train/distributed", 1, "several processes on MPI"),
      folder("train/codebook", 1, "k-means start, restarts, usage; averages or a map that move codes"),
      folder("train/taming", 1, "taming's YAML configs"),
      folder("train/report", 1, "the page of a run"),
    ],
  },
  {
    name: "nn",
    text: "the networks, under taming's names",
    rooms: [
      files(
        "nn",
        "the model",
        0,
        "vqgan.ts: load a checkpoint, pictures to tokens, tokens to pictures, the training pass",
        "vqgan",
        "vqgan_options",
        "loading",
        "cost",
        "index",
        "precision",
      ),
      files(
        "nn",
        "its parts",
        1,
        "encoder, decoder, layers",
        "blocks",
        "encoder",
        "decoder",
        "layers",
        "module",
        "init",
        "fill",
        "capture",
        "images_and_tokens",
        "resample",
      ),
      folder("nn/quantizers", 1, "vectors to codes"),
      files(
        "nn",
        "its losses",
        1,
        "LPIPS, discriminator",
        "losses",
        "lpips",
        "perceptual_files",
        "perceptual_nets",
        "perceptual_search",
        "discriminator",
        "vq_lpips_with_discriminator",
      ),
      folder("nn/face", 1, "faces and whose they are"),
      folder("nn/inception", 1, "the network of the FID"),
    ],
  },
  {
    name: "data",
    text: "files and pictures",
    rooms: [
      folder("data/figures", 0, "curves, sheets, cartoon faces"),
      folder("data/tokens", 0, "token files: Parquet, JSON lines, TSV"),
      folder("data/hub", 1, "checkpoints by name: the Hugging Face hub, its cache, web addresses"),
      folder("data/pictures", 1, "pixels in and out of files, lists and data sets of pictures"),
      folder(
        "data/files",
        2,
        "checkpoints on the disk: opening, hashing, atomic saving; tar archives",
      ),
      folder(
        "data/formats",
        3,
        "bytes in, values out: torch/, flax/, safetensors; the config of a model (config.ts)",
      ),
    ],
  },
  {
    name: "src",
    text: "the tensor library",
    rooms: [
      files(
        "src",
        "tensors",
        0,
        "tensor.ts makes them, device.ts chooses where, random.ts draws random ones",
        "tensor",
        "random",
        "device",
        "index",
      ),
      folder("src/ops", 1, "every operation: checks shapes, runs a kernel, records its gradient"),
      files(
        "src",
        "their basis",
        2,
        "array.ts (the class Tensor), tape.ts and autograd.ts (gradients), scope.ts (who frees what), storage.ts",
        "array",
        "autograd",
        "tape",
        "eigen",
        "parts",
        "scope",
        "storage",
        "shape",
        "operands",
        "doubt",
      ),
      folder("src/backends/wasm", 3, "the CPU, in WebAssembly"),
      folder("src/backends/webgpu", 3, "GPUs, in WGSL"),
      folder("src/backends/gpujs", 3, "the readable reference"),
      rest(
        "src/backends",
        "backends/",
        4,
        "kernels.ts: what kernels are called with; facts.ts: what they touch",
      ),
      rest("src", "tools", 4, "the environment, optional packages, checks of arguments"),
    ],
  },
];

const WIDTH = 1000, LEFT = 150, GAP = 12, ROOM = 46, PAD = 12;
const colors: Record<string, string> = {
  cli: "#f6d9c9",
  train: "#f7e7b9",
  nn: "#d6e6c4",
  data: "#cfe0ee",
  src: "#dcd4ec",
};

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** Breaks a text into lines of at most `most` letters. */
function wrap(text: string, most: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < most) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function drawRoom(room: Room, x: number, y: number, width: number): string {
  return `<rect x="${x}" y="${y}" width="${width}" height="${ROOM}" rx="6" fill="#fff" stroke="#888"/>
<text x="${x + 9}" y="${y + 18}" class="name">${escape(room.name)}</text>
<text x="${x + 9}" y="${y + 35}" class="small">${escape(room.text)}</text>`;
}

function drawLayer(layer: Layer, y: number): { svg: string; height: number } {
  const lines = [...Map.groupBy(layer.rooms, ({ line }) => line).values()];
  const height = 2 * PAD + lines.length * ROOM + (lines.length - 1) * GAP;
  const parts = [
    `<rect x="10" y="${y}" width="${WIDTH - 20}" height="${height}" rx="10" fill="${colors[layer.name]}"/>`,
    `<text x="26" y="${y + 34}" class="layer">${layer.name}/</text>`,
    ...wrap(layer.text, 18).map((line, i) =>
      `<text x="26" y="${y + 54 + 15 * i}" class="small">${line}</text>`
    ),
  ];
  lines.forEach((rooms, row) => {
    const width = (WIDTH - LEFT - 10 - PAD - (rooms.length - 1) * GAP) / rooms.length;
    rooms.forEach((room, i) => {
      const x = LEFT + i * (width + GAP);
      parts.push(drawRoom(room, x, y + PAD + row * (ROOM + GAP), width));
    });
  });
  return { svg: parts.join("\n"), height };
}

/** @throws if a source is in no room, or an import runs upwards */
function check(graph: Imports): void {
  const place = (file: string): [layer: number, line: number] | null => {
    const layer = layers.findIndex(({ rooms }) => rooms.some((room) => room.files(file)));
    if (layer < 0) return null;
    return [layer, layers[layer].rooms.find((room) => room.files(file))!.line];
  };
  for (const [file, imports] of graph) {
    const from = place(file);
    if (!from) {
      if (file !== "data/index.ts") throw new Error(`house.ts: ${file} is in no room; describe its folder`);
      continue;
    }
    for (const to of imports) {
      const target = graph.has(to) ? place(to) : null;
      const isAbove = target && (target[0] < from[0] || (target[0] === from[0] && target[1] < from[1]));
      if (isAbove) throw new Error(`house.ts: ${file} imports ${to}, which is above it`);
    }
  }
}

/** The picture, as SVG. */
export function drawHouse(): string {
  check(importsBelow(layers.map(({ name }) => name)));
  const parts: string[] = [];
  let y = 10;
  for (const [i, layer] of layers.entries()) {
    const { svg, height } = drawLayer(layer, y);
    parts.push(svg);
    y += height;
    if (i === layers.length - 1) break;
    parts.push(
      `<path d="M80 ${y + 3}v14m-5 -6l5 6l5 -6" fill="none" stroke="#555" stroke-width="2"/>`,
      i === 0 ? `<text x="94" y="${y + 15}" class="small">imports</text>` : "",
    );
    y += 22;
  }
  const height = y + 10;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}">
<style>
text { font-family: "Helvetica Neue", Arial, sans-serif; fill: #222; }
.layer { font-size: 20px; font-weight: bold; } .name { font-size: 14px; font-weight: bold; }
.small { font-size: 12px; font-weight: normal; fill: #444; }
</style>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
${parts.filter((part) => part !== "").join("\n")}
</svg>
`;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(join(root, "docs", "house.svg"), drawHouse());
}
