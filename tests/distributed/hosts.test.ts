// Two hosts, which are network namespaces of this machine: they train together over TCP, and notice when the link between them
// is cut.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkpointOf, readRunState } from "../../train/index.ts";
import { allEnded, missing, oneLauncher, scriptWords, start } from "../support/mpi.ts";
import { twoHosts } from "../support/netns.ts";
import { runFixture } from "../support/runs.ts";

setDefaultTimeout(300_000);

const folder = await mkdtemp(join(tmpdir(), "hosts-"));
const probe = twoHosts(folder);
if (typeof probe !== "string") probe.remove();
afterAll(() => rm(folder, { recursive: true, force: true }));
await runFixture(folder);

for (const name of missing) test.skip(`two hosts: ${name} is not installed`, () => {});
if (typeof probe === "string") test.skip(`two hosts: no network namespaces here: ${probe}`, () => {});
else {
  const launcher = oneLauncher;
  if (launcher) {
    test(`two hosts train together, and end when their link is cut (${launcher.name})`, async () => {
      const hosts = twoHosts(folder), out = join(folder, launcher.name);
      if (typeof hosts === "string") throw new Error(hosts);
      try {
        const words = [...launcher.onHosts(hosts), ...scriptWords("./ranked.ts"), folder, out, "long", "2"];
        const { printed } = start(words, { TESSERA_RANK_TIMEOUT: "4" });
        const pids = (await printed(/pids ([\d,]+)/))[1].split(",").map(Number);
        await printed(/step 1[2-9]\n/);
        hosts.cut();
        await printed(/rank 0 ends: nothing was heard from rank 1 \(.*\) for \d+ s/);
        expect(await allEnded(pids, 60)).toBe(true);
        const { step } = await readRunState(await checkpointOf(join(out, (await readdir(out))[0])));
        expect(step % 10).toBe(0);
      } finally {
        hosts.remove();
      }
    });
  }
}
