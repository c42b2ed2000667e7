// How MPI ends after all work is done: any library waits forever if its launcher no longer answers.
import { expect, setDefaultTimeout, test } from "bun:test";
import { launchers, scriptWords, start } from "../support/mpi.ts";

setDefaultTimeout(300_000);

const script = scriptWords("./summed.ts");
const mpich = launchers.find(({ name }) => name === "MPICH");

if (!mpich) test.skip("MPI's end: MPICH is not installed", () => {});
else {
  test("ranks leave although MPI does not end, and the launcher reports no failure", async () => {
    const words = [...mpich.words(2), ...script, "stopped"];
    const { code, out } = await start(words, { TESSERA_RANK_TIMEOUT: "10" }, 280).ended;
    expect(out).toMatch(
      /rank 0 ended with all work is done, but MPICH .* did not end within 10 s, so the processes end without it/,
    );
    expect(code).toBe(0);
  });
}
