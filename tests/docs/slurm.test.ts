// The scripts for Slurm in examples/slurm: they are those of the documentation, and put a job back into the queue when they
// should. srun and scontrol are stubs here; docs/cluster.md says with which Slurm the scripts were tried.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

setDefaultTimeout(60_000);

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "tessera-slurm-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

test("the documentation shows the scripts as they are", async () => {
  for (const [page, script] of [["cluster", "finetune"], ["corpus", "encode"]]) {
    const text = await readFile(path(`examples/slurm/${script}.sbatch`), "utf8");
    expect(await readFile(path(`docs/${page}.md`), "utf8")).toContain("```sh\n" + text + "```");
  }
});

test("a job that was stopped goes back into the queue, and one that has ended does not", async () => {
  if (process.platform !== "linux") return;
  const stubs = { srun: 'exit "$ENDS_WITH"', scontrol: 'echo "$@"' };
  for (const [name, text] of Object.entries(stubs)) {
    await writeFile(join(folder, name), `#!/bin/sh\n${text}\n`);
    await chmod(join(folder, name), 0o755);
  }
  const cases = [[140, "requeue 7\n"], [143, "requeue 7\n"], [0, ""], [1, ""], [137, ""]] as const;
  for (const [ending, printed] of cases) {
    const { status, stdout } = spawnSync("bash", [path("examples/slurm/finetune.sbatch")], {
      env: {
        ...process.env,
        PATH: `${folder}:${process.env.PATH}`,
        SLURM_JOB_ID: "7",
        ENDS_WITH: `${ending}`,
      },
      encoding: "utf8",
    });
    expect([ending, stdout, status]).toEqual([ending, printed, ending]);
  }
});
