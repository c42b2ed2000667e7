// The service worker: keeps all files of the page for use without a network, and adds the headers that isolate the page from
// other origins (COOP and COEP), which give its engine threads on servers that do not send them. It works below any path.
interface Lasting extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface Asking extends Lasting {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
interface ServiceWorkerScope {
  /** What build.ts writes before this program: a hash of all files, their names, and which of them is the model. */
  readonly playground: {
    readonly version: string;
    readonly files: readonly string[];
    readonly model: string;
  };
  readonly registration: { readonly scope: string };
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", listener: (event: Lasting) => void): void;
  addEventListener(type: "fetch", listener: (event: Asking) => void): void;
}

const worker = globalThis as unknown as ServiceWorkerScope;
const { version, files, model } = worker.playground, { scope } = worker.registration;
const ours = `tessera ${scope} `, current = ours + version;

worker.addEventListener("install", (event) => {
  const keep = async () =>
    await (await caches.open(current)).addAll(files.map((file) => new URL(file, scope).href));
  event.waitUntil(keep().then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  const clean = async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith(ours) && name !== current);
    await Promise.all(old.map((name) => caches.delete(name)));
    await worker.clients.claim();
  };
  event.waitUntil(clean());
});

worker.addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && event.request.url.startsWith(scope)) {
    event.respondWith(answer(event.request));
  }
});

/** Small files come from the network if there is one, so that they are up to date; the model from what was kept. */
async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(current), options = { ignoreSearch: true };
  const isModel = new URL(model, scope).pathname === new URL(request.url).pathname;
  const kept = isModel ? await cache.match(request, options) : undefined;
  if (kept) return isolated(kept);
  try {
    return isolated(await fetch(request));
  } catch (error) {
    const found = await cache.match(request, options);
    if (found) return isolated(found);
    throw error;
  }
}

function isolated(response: Response): Response {
  if (response.status === 0 || response.redirected) return response;
  const headers = new Headers(response.headers);
  headers.set("cross-origin-opener-policy", "same-origin");
  headers.set("cross-origin-embedder-policy", "require-corp");
  headers.set("cross-origin-resource-policy", "same-origin");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
