// The worker of the page.
import { job } from "./job.ts";

try {
  postMessage(await job(await (await fetch("/faces.safetensors")).blob()));
} catch (error) {
  postMessage({ error: String(error) });
}
