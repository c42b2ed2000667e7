// Opens an MPI library. There are three families of them, which have the same functions but other constants. In Open MPI
// constants are addresses of variables, in MPICH (and Intel MPI, MVAPICH and Cray MPICH) they are ints, and in the ABI of MPI 5
// they are small fixed addresses.
import { addresses, type Library, openLibrary, type Word } from "./ffi.ts";

/** The functions that are used, with the types of their parameters. */
const functions = {
  MPI_Get_library_version: "pp",
  MPI_Init_thread: "ppip",
  MPI_Comm_rank: "hp",
  MPI_Comm_size: "hp",
  MPI_Comm_set_errhandler: "hh",
  MPI_Error_string: "ipp",
  MPI_Abort: "hi",
  MPI_Finalize: "",
  MPI_Isend: "pihiihp",
  MPI_Irecv: "pihiihp",
  MPI_Test: "ppp",
  MPI_Ialltoall: "pihpihhp",
  MPI_Iallgather: "pihpihhp",
  MPI_Iallreduce: "ppihhhp",
  MPI_Ibcast: "pihihp",
  MPI_Ibarrier: "hp",
  MPI_Publish_name: "php",
  MPI_Lookup_name: "php",
} as const;

type Name = keyof typeof functions;
type Constants = Readonly<Record<"world" | "float" | "byte" | "sum" | "errorsReturn", Word>>;

/** What tells a family from the others. */
interface Family {
  readonly name: "Open MPI" | "MPICH" | "MPI-5 ABI";
  readonly handle: "int" | "address";
  /** MPI_IN_PLACE */
  readonly inPlace: bigint;
  /** MPI_STATUS_IGNORE */
  readonly noStatus: bigint;
  readonly constants: (library: Library<Name>) => Constants;
}

const openMpi: Family = {
  name: "Open MPI",
  handle: "address",
  inPlace: 1n,
  noStatus: 0n,
  constants: (library) => {
    const at = (name: string) => library.addressOf(`ompi_mpi_${name}`)!;
    return {
      world: at("comm_world"),
      float: at("float"),
      byte: at("byte"),
      sum: at("op_sum"),
      errorsReturn: at("errors_return"),
    };
  },
};
const mpich: Family = {
  name: "MPICH",
  handle: "int",
  inPlace: 2n ** 64n - 1n,
  noStatus: 1n,
  constants: () => ({
    world: 0x44000000,
    float: 0x4c00040a,
    byte: 0x4c00010d,
    sum: 0x58000003,
    errorsReturn: 0x54000001,
  }),
};
const abi: Family = {
  name: "MPI-5 ABI",
  handle: "address",
  inPlace: 1n,
  noStatus: 0n,
  constants: () => ({ world: 0x101, float: 0x210, byte: 0x247, sum: 0x21, errorsReturn: 0x142 }),
};

/** The files in which libraries are found, in the order in which they are tried. Of each family the last one is the rarest. */
const files: Readonly<Record<Family["name"], readonly string[]>> = {
  "Open MPI": ["libmpi.so.40"],
  "MPICH": ["libmpich.so.12", "libmpi.so.12"],
  "MPI-5 ABI": ["libmpi_abi.so.1"],
};

/** The files to try: those of the family that is preferred, and then the others, but `without` one. */
export function candidates(preferred: Family["name"], without?: Family["name"]): string[] {
  const names = (Object.keys(files) as Family["name"][]).filter((name) => name !== without);
  return names.sort((a, b) => Number(b === preferred) - Number(a === preferred)).flatMap((name) =>
    files[name]
  );
}

/** Most bytes of MPI_MAX_LIBRARY_VERSION_STRING in any family. */
const versionBytes = 8192;

/** An open library, before or after MPI_Init. */
export class Mpi {
  /** The file that was opened. */
  readonly path: string;
  readonly family: Family;
  /** The first line of what the library says about itself. */
  readonly version: string;
  readonly constants: Constants;
  /** The address of a view. */
  readonly at: (view: ArrayBufferView) => bigint;
  readonly #library: Library<Name>;

  private constructor(
    path: string,
    family: Family,
    library: Library<Name>,
    at: (view: ArrayBufferView) => bigint,
  ) {
    this.path = path;
    this.family = family;
    this.at = at;
    this.#library = library;
    this.constants = family.constants(library);
    const text = new Uint8Array(new SharedArrayBuffer(versionBytes));
    const length = new Int32Array(new SharedArrayBuffer(4));
    this.call("MPI_Get_library_version", at(text), at(length));
    const [first] = new TextDecoder().decode(text.slice(0, length[0])).split(/[\n,\0]/);
    this.version = first.replace(/\s+/g, " ").trim();
  }

  /**
   * Opens the first of the files that is there.
   * @param wayOut what to do if there is none
   * @throws Error naming what was tried
   */
  static async open(paths: readonly string[], wayOut: string): Promise<Mpi> {
    const reasons: string[] = [];
    for (const path of paths) {
      try {
        return await Mpi.#openOne(path);
      } catch (error) {
        reasons.push(error instanceof Error ? error.message : String(error));
      }
    }
    throw new Error(
      `MPI: no library was found (tried ${
        paths.join(", ")
      }): ${wayOut}. Or set TESSERA_MPI to the path of your ` +
        `library (libmpi.so). The first attempt failed with: ${reasons[0]}`,
    );
  }

  static async #openOne(path: string): Promise<Mpi> {
    const asAddress = await openLibrary(path, functions, "address");
    const family = asAddress.addressOf("ompi_mpi_comm_world") !== null
      ? openMpi
      : /mpi_abi/.test(path)
      ? abi
      : mpich;
    const library = family.handle === "address" ? asAddress : await openLibrary(path, functions, "int");
    return new Mpi(path, family, library, await addresses());
  }

  /** Calls a function. @returns whether it succeeds */
  attempt(name: Name, ...words: readonly Word[]): boolean {
    return this.#library.call[name](...words) === 0;
  }

  /** Calls a function. @throws Error with its name and the library's own words if it fails */
  call(name: Name, ...words: readonly Word[]): void {
    const code = this.#library.call[name](...words);
    if (code === 0) return;
    const text = new Uint8Array(new SharedArrayBuffer(versionBytes));
    const length = new Int32Array(new SharedArrayBuffer(4));
    this.#library.call.MPI_Error_string(code, this.at(text), this.at(length));
    throw new Error(`${name}: ${new TextDecoder().decode(text.slice(0, length[0]))}`);
  }
}
