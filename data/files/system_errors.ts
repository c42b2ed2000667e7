// What the operating system's error codes mean, in words: what is wrong, and what to do about it.

/** What is wrong with a file, and the way out. */
export interface Trouble {
  readonly problem: string;
  readonly wayOut: string;
}

const trouble = (problem: string, wayOut: string): Trouble => ({ problem, wayOut });

const general: Readonly<Record<string, Trouble>> = {
  ENOENT: trouble("there is no such file or folder", "check the path"),
  ENOTDIR: trouble("a part of its path is a file and not a folder", "check the path"),
  EISDIR: trouble("this is a folder and not a file", "name the file"),
  EEXIST: trouble("something of this name is there already", "remove it, or choose another name"),
  ENOTEMPTY: trouble("the folder is not empty", "choose another"),
  ENAMETOOLONG: trouble("its name is longer than the disk allows", "choose a shorter name"),
  ELOOP: trouble("its links lead in a circle", "check where the links point"),
  EACCES: trouble("there is no permission", "change its permissions, or choose another place"),
  EPERM: trouble("the system does not permit it", "change its permissions, or choose another place"),
  EROFS: trouble("the disk is read-only", "choose another folder"),
  ENOSPC: trouble("the disk is full", "make room and try again"),
  EDQUOT: trouble("the disk quota is used up", "make room and try again"),
  EFBIG: trouble("it is larger than the system allows", "raise the limit (ulimit -f) or write elsewhere"),
  EMFILE: trouble("too many files are open", "raise the limit (ulimit -n)"),
  ENFILE: trouble("too many files are open on this machine", "close other programs"),
  EBUSY: trouble("something else is using it", "try again later"),
  ETXTBSY: trouble("it is a program that is running", "choose another name"),
  EIO: trouble("the disk reports an error", "check the disk and its connection"),
  ENXIO: trouble("the device is not there", "check the path"),
  ENODEV: trouble("the device is not there", "check the path"),
  ESTALE: trouble("the network disk has lost it", "try again"),
  ETIMEDOUT: trouble("the network disk does not answer", "try again"),
  ENOMEM: trouble("the system has no memory left", "close other programs"),
  EINVAL: trouble("the system does not accept this path", "choose another"),
  ERR_INVALID_ARG_VALUE: trouble("the path contains the character NUL", "check the path"),
};

/** What the codes mean while a file is written, where that is something else. */
const isFolder = trouble("a folder of this name is there", "move it away, or choose another name");
const writing: Readonly<Record<string, Trouble>> = {
  ENOENT: trouble("its folder does not exist", "make it first"),
  ENOTDIR: trouble("its folder is a file", "choose another path"),
  EISDIR: isFolder,
  ENOTEMPTY: isFolder, // Deno, about a file that it should remove
  EACCES: trouble(
    "there is no permission to write to the folder",
    "change its permissions or choose another",
  ),
};

/** The system's code of an error, such as ENOENT; "" if it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/**
 * Says what a failed call of the system means.
 * @returns null if the error is not one of the system's, or if its code is unknown
 */
export function troubleOf(error: unknown, doing: "reading" | "writing"): Trouble | null {
  const code = codeOf(error);
  const known = doing === "writing" && Object.hasOwn(writing, code) ? writing : general;
  return Object.hasOwn(known, code) ? known[code] : null;
}

/** The calls that change something on the disk. */
const changes = [
  "mkdir",
  "rename",
  "link",
  "symlink",
  "copyfile",
  "write",
  "unlink",
  "rm",
  "rmdir",
  "ftruncate",
  "fsync",
];

/**
 * Says in one line what an error of the system means that nothing has worded yet.
 * @returns null if it is another kind of error
 */
export function systemMessage(error: unknown): string | null {
  const { syscall = "", path } = error as { syscall?: string; path?: string };
  const trouble = syscall === "" ? null : troubleOf(error, changes.includes(syscall) ? "writing" : "reading");
  if (trouble === null) return null;
  const [, named] = /'([^']+)'/.exec((error as Error).message) ?? []; // not every error has its path as a property
  return `${path ?? named ?? syscall} (${codeOf(error)}): ${trouble.problem}; ${trouble.wayOut}`;
}
