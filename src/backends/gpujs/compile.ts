// How kernels run: gpu.js parses a kernel's source, writes loops over all output elements around it and compiles the result,
// once for each kernel and its sizes. It runs in mode "cpu", as plain JavaScript: sums are in double precision and are
// stored as f32.
//
// gpu.js puts conditions on a kernel: it must be a `function` that uses only its arguments, `this`, Math and the functions
// that are passed with it. It must not contain `continue`, which can skip the step of a loop there, or `while`.
import { optionalPackage } from "../../packages.ts";

/** A kernel's `this`: which element of the output it computes, and the sizes compiled into it. */
export interface Place<Sizes> {
  readonly thread: { readonly x: number; readonly y: number; readonly z: number };
  readonly constants: Sizes;
}

type Argument = Float32Array | Int32Array | number;
/** Computes one element of the output. */
export type Kernel<Sizes, Arguments extends Argument[]> = (this: Place<Sizes>, ...args: Arguments) => number;
/** A function of numbers that kernels may call: an arrow and one expression. */
export type Scalar = (...numbers: number[]) => number;
/** Functions by the names under which a kernel calls them. */
type Functions = Readonly<Record<string, Scalar>>;

/** What gpu.js returns: an array for each row of the output. */
type Rows = Float32Array | Rows[];
type Compiled = (...args: Argument[]) => Rows;

/** The part of the package gpu.js that is used here. */
interface GpuJs {
  readonly GPU: new (settings: { readonly mode: "cpu" }) => Gpu;
}

interface Gpu {
  createKernel(source: string, settings: object): unknown;
}

export class Compiler {
  readonly #gpu: Gpu;
  /** Compiled kernels: by the kernel, or by the function `op` if it was given one, and then by sizes. */
  readonly #compiled = new Map<unknown, Map<string, Compiled>>();

  private constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** Loads gpu.js. @throws if it is not installed */
  static async open(): Promise<Compiler> {
    const { GPU } = await optionalPackage<GpuJs>("gpu.js", "the device gpujs");
    return new Compiler(new GPU({ mode: "cpu" }));
  }

  /**
   * Fills `out` with what the kernel returns for every place in `extent`, which is [x], [x, y] or [x, y, z]; x changes
   * fastest. `out` may be one of the arguments, because it is written after all of them have been read.
   */
  run<Sizes extends object, Arguments extends Argument[]>(
    kernel: Kernel<Sizes, Arguments>,
    out: Float32Array | Int32Array,
    extent: readonly number[],
    sizes: Sizes,
    args: Arguments,
    functions: Functions = {},
  ): void {
    if (extent.includes(0)) return;
    store(this.#compile(kernel, extent, sizes, functions)(...args), out, 0);
  }

  #compile<Sizes extends object, Arguments extends Argument[]>(
    kernel: Kernel<Sizes, Arguments>,
    extent: readonly number[],
    sizes: Sizes,
    functions: Functions,
  ): Compiled {
    const owner = functions.op ?? kernel, key = JSON.stringify([extent, sizes]);
    const known = this.#compiled.get(owner) ?? new Map<string, Compiled>();
    this.#compiled.set(owner, known);
    let compiled = known.get(key);
    if (!compiled) {
      const settings: object = {
        output: extent,
        constants: sizes,
        functions: Object.entries(functions).map(declaration),
        loopMaxIterations: 2 ** 31 - 1, // by default gpu.js stops some loops after 1,000 iterations
      };
      compiled = this.#gpu.createKernel(kernel.toString(), settings) as Compiled;
      known.set(key, compiled);
    }
    return compiled;
  }
}

/** Rewrites an arrow as `function name(...)`, which gpu.js needs. */
function declaration([name, scalar]: [string, Scalar]): string {
  const [, parameters, expression] = /^\(?([^()=]*)\)?\s*=>\s*([^{]*)$/.exec(scalar.toString()) ?? [];
  if (expression === undefined) {
    throw new Error(`gpujs: ${name} is not an arrow function of one expression: ${scalar}`);
  }
  return `function ${name}(${parameters}) { return ${expression}; }`;
}

/** Writes the rows one after another and returns where they end. */
function store(rows: Rows, out: Float32Array | Int32Array, at: number): number {
  if (!Array.isArray(rows)) {
    out.set(rows, at);
    return at + rows.length;
  }
  for (const row of rows) at = store(row, out, at);
  return at;
}
