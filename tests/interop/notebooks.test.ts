// The notebooks of docs/notebooks in Deno's real kernel for Jupyter: the cells show what was saved, and an interrupt leaves the
// kernel with its variables, as docs/notebooks/README.md says.
import { expect, setDefaultTimeout, test } from "bun:test";
import process from "node:process";
import type { Output } from "../../scripts/notebooks/cells.ts";
import { notebookNames } from "../../scripts/notebooks.ts";
import { checkOutputs, notebookPath } from "../support/notebooks.ts";
import { describePython, testDeadline } from "./python.ts";

setDefaultTimeout(testDeadline);

if (process.versions.bun) {
  test.skip("notebooks.py: the kernel of the notebooks is Deno's, so only the tests in Deno run it", () => {});
} else {
  // Deno's spawn would add its own flags to a word that is its path. The kernel colours values otherwise.
  Object.assign(process.env, { DENO: process.execPath, NO_COLOR: "1" });
  describePython("notebooks.py", ["nbclient", "nbformat"], (job) => {
    for (const name of notebookNames) {
      test(`${name} shows what was saved`, async () => {
        await checkOutputs(name, job<Output[][]>("run", notebookPath(name)));
      });
    }

    test("an interrupted cell ends, and the kernel lives", () => {
      const result = job<{ ended: string; after: string }>("interrupt");
      expect(result).toEqual({ ended: "interrupted", after: "42" });
    });
  });
}
