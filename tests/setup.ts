// Bun gives a test five seconds; the slowest here decodes the full-size model twice, on a machine that may be busy.
import { setDefaultTimeout } from "bun:test";

setDefaultTimeout(300_000);
