// How ranks meet before they end MPICH before 4.2. In its MPI_Finalize each rank asks every other one for a last answer over the
// network (UCX does so since 1.12), waits for all answers, and then waits for the launcher without answering any more. So a rank
// that still tests its own messages may answer too early: before it asks itself, and then nobody answers, and MPI_Finalize never
// returns. MPICH 4.2 first waits for the launcher. Here the ranks wait for each other in the same way, by names that they publish:
// these pass through the launcher, and asking for them answers no message.
import { Buffer } from "node:buffer";
import type { Mpi } from "./library.ts";

/** MPI_INFO_NULL of MPICH, and its MPI_MAX_PORT_NAME. */
const noInfo = 0x1c000000, portBytes = 256;
/** Milliseconds between two looks for a name, and for how long MPI is not called where names cannot be published. */
const lookEvery = 10, quiet = 1000;

/** Whether this library needs it. */
export const mustMeet = ({ version }: Mpi): boolean => /^MPICH Version: (3|4\.[01])\b/.test(version);

/**
 * Returns when no rank tests any messages.
 * @param key a number that all ranks know, and no other program of the launcher
 */
export function meet(
  mpi: Mpi,
  { rank, size }: { readonly rank: number; readonly size: number },
  key: number,
  sleep: (milliseconds: number) => void,
): void {
  const name = new Uint8Array(new SharedArrayBuffer(portBytes));
  const port = new Uint8Array(new SharedArrayBuffer(portBytes));
  const call = (what: "MPI_Publish_name" | "MPI_Lookup_name", of: number | "all") => {
    name.fill(0).set(Buffer.from(`tessera${key}.${of}`));
    return mpi.attempt(what, mpi.at(name), noInfo, mpi.at(port));
  };
  const find = (of: number | "all") => {
    while (!call("MPI_Lookup_name", of)) sleep(lookEvery);
  };
  port.set(Buffer.from("here"));
  if (!call("MPI_Publish_name", rank)) return sleep(quiet); // then no other rank can either
  if (rank > 0) return find("all");
  for (let other = 1; other < size; other++) find(other);
  call("MPI_Publish_name", "all");
}
