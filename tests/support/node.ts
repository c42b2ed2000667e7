// What node.test.ts runs in Node: both entries are imported as they are, and the journey is made. One JSON line.
import "../../core.ts";
import "../../mod.ts";
import { journey } from "./journey.ts";

console.log(JSON.stringify(await journey()));
