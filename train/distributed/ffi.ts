// Functions of a C library, called in the same way in Deno and in Bun. Node cannot call any.
import { Buffer } from "node:buffer";

/** A number or an address of C, which may have 64 bits. */
export type Word = number | bigint;

/** The types of a function's parameters: i is an int, p an address, h a handle. All functions return an int. */
export type Signature = string;

/** An open library. */
export interface Library<Name extends string> {
  /** The functions that it has. Those that it lacks are missing here. */
  readonly call: Readonly<Record<Name, (...words: Word[]) => number>>;
  /** The address of a variable; null if it has none of this name. */
  addressOf(symbol: string): bigint | null;
}

/** The part of Deno's namespace that calls C. */
interface Deno {
  dlopen(path: string, functions: object): { readonly symbols: Record<string, unknown> };
  readonly UnsafePointer: { of(view: ArrayBufferView): object | null; value(pointer: unknown): bigint };
}

/** The part of bun:ffi that is used here. */
interface BunFfi {
  dlopen(path: string, functions: object): { readonly symbols: Record<string, unknown> };
  ptr(view: ArrayBufferView): number;
}

const { Deno } = globalThis as { Deno?: Deno };
const isBun = globalThis.process?.versions?.bun !== undefined;
const bunFfi = "bun:ffi"; // a name that only Bun knows, which compilers must not look up

/** The C library of Linux, whose `dlsym` finds variables for Bun. */
const libc = "libc.so.6";
/** RTLD_NOW */
const now = 2;

/** Whether this runtime can call C. */
export const hasFfi: boolean = Deno !== undefined || isBun;

/**
 * Opens a library and its functions.
 * @param handle how handles are passed: as an int, or as an address
 * @throws if it is not there, or a function is missing
 */
export async function openLibrary<Name extends string>(
  path: string,
  functions: Readonly<Record<Name, Signature>>,
  handle: "int" | "address",
): Promise<Library<Name>> {
  const address = "usize", types = { i: "i32", p: address, h: handle === "int" ? "i32" : address };
  const typesOf = (signature: string) => [...signature].map((type) => types[type as keyof typeof types]);
  const declare = (describe: (parameters: string[]) => object) =>
    Object.fromEntries(
      Object.entries<string>(functions).map(([name, signature]) => [name, describe(typesOf(signature))]),
    );
  if (Deno) {
    const { symbols } = Deno.dlopen(path, declare((parameters) => ({ parameters, result: "i32" })));
    return { call: symbols as Library<Name>["call"], addressOf: (symbol) => addressInDeno(path, symbol) };
  }
  const ffi = await import(bunFfi) as BunFfi;
  const { symbols } = ffi.dlopen(path, declare((args) => ({ args, returns: "i32" })));
  return {
    call: symbols as Library<Name>["call"],
    addressOf(symbol) {
      const { dlopen, dlsym } = ffi.dlopen(libc, {
        dlopen: { args: ["cstring", "i32"], returns: "u64" },
        dlsym: { args: ["u64", "cstring"], returns: "u64" },
      }).symbols as Record<string, (...args: unknown[]) => bigint>;
      const text = (words: string) => Buffer.from(`${words}\0`);
      return BigInt(dlsym(dlopen(text(path), now), text(symbol))) || null;
    },
  };
}

function addressInDeno(path: string, symbol: string): bigint | null {
  const { symbols } = Deno!.dlopen(path, { [symbol]: { type: "pointer", optional: true } });
  return symbols[symbol] ? BigInt(Deno!.UnsafePointer.value(symbols[symbol])) : null;
}

/** Returns a function that returns the address of a view, whose memory must not move: that of a SharedArrayBuffer does not. */
export async function addresses(): Promise<(view: ArrayBufferView) => bigint> {
  if (Deno) {
    const { UnsafePointer } = Deno;
    return (view) => BigInt(UnsafePointer.value(UnsafePointer.of(view)));
  }
  const { ptr } = await import(bunFfi) as BunFfi;
  return (view) => BigInt(ptr(view));
}
