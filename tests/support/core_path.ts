// The program that core.test.ts runs in a process of its own: it imports only core.ts, gives it paths, and prints the errors
// as JSON.
import { inspect, loadPerceptual, LPIPS, readImage, VQGAN } from "../../core.ts";

const path = "last.ckpt";
const asked = [
  VQGAN.load(path),
  loadPerceptual(new LPIPS("squeeze"), { backbone: path, heads: path }),
  inspect(path),
  readImage(path),
];
const results = await Promise.allSettled(asked);
console.log(JSON.stringify(results.map((r) => r.status === "rejected" ? r.reason.message : "opened")));
