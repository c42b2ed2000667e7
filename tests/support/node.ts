// The program that node.test.ts runs in Node: it imports both entry points, runs journey.ts, and prints one JSON line.
import "../../core.ts";
import "../../mod.ts";
import { journey } from "./journey.ts";

console.log(JSON.stringify(await journey()));
