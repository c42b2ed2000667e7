// Registers the service worker, which keeps the page for use without a network and isolates it from other origins where the
// server does not. Only an isolated page has threads.
/// <reference lib="dom" />

/** The page is loaded again once at most. */
const mark = "tessera-isolated";

/** Lets the service worker fetch and keep all files of the page. @returns whether it does */
export async function keepForOffline(): Promise<boolean> {
  if (!("serviceWorker" in navigator)) return false; // not a secure address
  const registration = await navigator.serviceWorker.register("service_worker.js").catch(() => null);
  const worker = registration?.installing ?? registration?.waiting;
  if (worker) {
    await new Promise<void>((resolve) => {
      worker.onstatechange = () => ["activated", "redundant"].includes(worker.state) && resolve();
    });
  }
  return registration?.active != null;
}

/** Loads the page again by the service worker, if that isolates it. @returns whether the page is being loaded again */
export async function isolate(): Promise<boolean> {
  if (crossOriginIsolated || sessionStorage.getItem(mark) !== null) return false;
  sessionStorage.setItem(mark, "tried");
  if (!await keepForOffline()) return false;
  location.reload();
  return true;
}
