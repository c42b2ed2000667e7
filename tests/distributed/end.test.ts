// How MPI ends after all work is done. MPICH before 4.2 waits forever if a rank answers another one too early, and any library
// does if its launcher no longer answers.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launchers, scriptWords, start } from "../support/mpi.ts";
import { twoHosts } from "../support/netns.ts";

setDefaultTimeout(300_000);

const folder = await mkdtemp(join(tmpdir(), "end-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const script = scriptWords("./summed.ts");
const mpich = launchers.find(({ name }) => name === "MPICH");
const hosts = mpich ? twoHosts(folder) : "";

if (!mpich) test.skip("MPI's end: MPICH is not installed", () => {});
else {
  if (typeof hosts === "string") test.skip(`MPICH over TCP: no network namespaces here: ${hosts}`, () => {});
  else {
    test("MPICH ends over TCP after large sums", async () => {
      try {
        const { code, out } = await start([...mpich.onHosts(hosts), ...script], {}, 280).ended;
        expect([code, out.trim().split("\n").sort()]).toEqual([
          0,
          ["rank 0 ended with null", "rank 1 ended with null"],
        ]);
      } finally {
        hosts.remove();
      }
    });
  }

  test("ranks leave although MPI does not end, and the launcher reports no failure", async () => {
    const words = [...mpich.words(2), ...script, "stopped"];
    const { code, out } = await start(words, { TESSERA_RANK_TIMEOUT: "10" }, 280).ended;
    expect(out).toMatch(
      /rank 0 ended with all work is done, but MPICH .* did not end within 10 s, so the processes end without it/,
    );
    expect(code).toBe(0);
  });
}
