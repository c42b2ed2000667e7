// A web server that turns pictures into tokens and back, in Deno and in Bun. It answers several requests at once.
//   deno run -A examples/server.ts [port] [checkpoint]      (or: bun examples/server.ts [port] [checkpoint])
//   curl --data-binary @face.jpg http://127.0.0.1:8000/tokens > tokens.json           # {"grid":[16,16],"tokens":[...]}
//   curl --data-binary @tokens.json http://127.0.0.1:8000/picture > again.png         # a picture of 128x128
// It answers bad requests with status 400 and one line. Ctrl-C stops it after the requests that it is answering.
import process from "node:process";
import { fileURLToPath } from "node:url";
import { encodePng, ImageError, readImage, VQGAN } from "../mod.ts";

const shipped = fileURLToPath(new URL("../models/faces.safetensors", import.meta.url));
const [port = "8000", checkpoint = shipped] = process.argv.slice(2);
const model = await VQGAN.load(checkpoint), mostBytes = 2e7, mostAtOnce = 8;
const size = model.config.ddconfig.resolution, side = size / model.factor, count = side ** 2;
const refuse = (status: number, line: string) => new Response(`${line}\n`, { status });
const isToken = (n: unknown) => Number.isInteger(n) && Number(n) >= 0 && Number(n) < model.vocabulary;

async function answer(path: string, request: Request): Promise<Response> {
  if (path === "/tokens") {
    const picture = await readImage(await request.arrayBuffer(), { size });
    const { tokens, grid } = await model.tokensOf(picture);
    return Response.json({ grid, tokens: [...tokens] });
  }
  const { tokens } = await request.json().catch(() => null) ?? {};
  if (!Array.isArray(tokens) || tokens.length !== count || !tokens.every(isToken)) {
    return refuse(400, `expected {"tokens": [...]}, ${count} whole numbers below ${model.vocabulary}`);
  }
  return new Response(await encodePng(await model.pictureOf(tokens, [side, side])) as BodyInit);
}

// Requests may overlap: each is a chain of calls and awaits with a scope of its own, so it frees its own tensors and no others,
// and weights are only read. All share the same threads: eight requests take as long together as one after the other, but a
// small one need not wait for the end of a large one. Their memory adds up, so their number has a limit.
let working = 0;
async function handle(request: Request): Promise<Response> {
  const { pathname: path } = new URL(request.url);
  const length = Number(request.headers.get("content-length") ?? Infinity);
  if (request.method !== "POST" || !["/tokens", "/picture"].includes(path)) {
    return refuse(404, "post a picture to /tokens, or what comes back to /picture");
  }
  if (!(length <= mostBytes)) return refuse(413, `send at most ${mostBytes} bytes, with a Content-Length`);
  if (working === mostAtOnce) return refuse(503, "too many requests at once: try again later");
  working++;
  try {
    return await answer(path, request);
  } catch (error) {
    if (error instanceof ImageError) return refuse(400, error.message);
    console.error(error);
    return refuse(500, "this did not work, and the server has printed why");
  } finally {
    working--;
  }
}

declare const Bun: { serve(options: object): { url: URL; stop(): Promise<void> } };
const options = { port: Number(port), hostname: "127.0.0.1", onListen: () => {} }; // for this machine only
const server = "Deno" in globalThis ? Deno.serve(options, handle) : Bun.serve({ ...options, fetch: handle });
console.log(`http://127.0.0.1:${"addr" in server ? server.addr.port : server.url.port} is ready`);
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => "addr" in server ? server.shutdown() : server.stop());
}
