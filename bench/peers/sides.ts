// Tessera and the libraries that it is compared with, behind one interface. The page loads the libraries from their packages;
// only the parts that are used here have types.
import { device, grad, scope, Tensor, tensor } from "../../src/index.ts";
import { conv2d, currentBackend, matmul } from "../../src/index.ts";
import { type ConvJob, type Job, outSize } from "./jobs.ts";
import { onnxModel } from "./onnx.ts";

/** The inputs of a job. Pictures are NHWC, filters OIHW; `g` is the gradient of the output. */
export interface Inputs {
  readonly x: Float32Array<ArrayBuffer>;
  readonly w: Float32Array<ArrayBuffer>;
  readonly g: Float32Array<ArrayBuffer>;
}

/** A job that is ready to run, with its inputs on the GPU. */
export interface Prepared {
  /** Starts the job on the GPU once. */
  run(): void | Promise<void>;
  /** Waits until it has finished. */
  wait(): Promise<unknown>;
  /** Returns the result of the last run, in Tessera's layout. */
  read(): Promise<ArrayLike<number>>;
  dispose(): void;
}

export interface Side {
  readonly name: string;
  /** Returns null if the library has no such operation. */
  prepare(job: Job, inputs: Inputs): Promise<Prepared | null>;
}

const shapesOf = (job: ConvJob) => {
  const { size, inputs, outputs, kernel } = job, out = outSize(job);
  return {
    x: [1, size, size, inputs],
    w: [outputs, inputs, kernel, kernel],
    y: [1, out, out, outputs],
  } as const;
};

/** The values of a [1, ...] array with its axes in another order. */
export function permuted(
  values: ArrayLike<number>,
  shape: readonly number[],
  order: readonly number[],
): Float32Array<ArrayBuffer> {
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const out = new Float32Array(values.length), turned = order.map((axis) => shape[axis]);
  const at = turned.map(() => 0);
  for (let i = 0; i < out.length; i++) {
    let from = 0;
    for (let d = 0; d < at.length; d++) from += at[d] * strides[order[d]];
    out[i] = values[from];
    for (let d = at.length - 1; d >= 0 && ++at[d] === turned[d]; d--) at[d] = 0;
  }
  return out;
}
const toNCHW = (values: ArrayLike<number>, shape: readonly number[]) => permuted(values, shape, [0, 3, 1, 2]);
const toNHWC = (values: ArrayLike<number>, [b, h, w, c]: readonly number[]) =>
  permuted(values, [b, c, h, w], [0, 2, 3, 1]);

export async function tessera(): Promise<Side> {
  await device("webgpu");
  const prepare = (job: Job, { x, w, g }: Inputs): Promise<Prepared> => {
    const own: Tensor[] = [];
    const make = (values: Float32Array, shape: readonly number[]) => {
      const t = tensor(values, shape);
      own.push(t);
      return t;
    };
    let compute: () => Tensor;
    if (job.kind === "matmul") {
      const a = make(x, [job.rows, job.depth]), b = make(w, [job.depth, job.columns]);
      compute = () => matmul(a, b);
    } else {
      const shapes = shapesOf(job), { stride, padding, upsample } = job;
      const image = make(x, shapes.x), filter = make(w, shapes.w);
      const forward = () => conv2d(image, filter, null, { stride, padding, upsample });
      if (job.kind === "forward") compute = forward;
      else {
        const input = job.kind === "inputGrad" ? image : filter, gradient = make(g, shapes.y);
        input.requiresGrad = true;
        const out = forward();
        own.push(out);
        compute = () => grad([out], [input], { gradOutputs: [gradient], retainGraph: true })[0];
      }
    }
    let last: Tensor | null = null;
    return Promise.resolve({
      run: () => {
        last?.dispose();
        last = scope(compute);
      },
      wait: async () => {
        const backend = currentBackend();
        await backend.pause();
        await backend.pause(); // a pause waits for what the previous pause submitted
      },
      read: () => last!.data(),
      dispose: () => [...own, last].forEach((t) => t?.dispose()),
    });
  };
  return { name: "Tessera", prepare };
}

interface OrtTensor {
  getData(): Promise<ArrayLike<number>>;
  dispose(): void;
}
interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}
interface Ort {
  env: {
    wasm: { numThreads: number; wasmPaths: string };
    webgpu: { device: GPUDevice | Promise<GPUDevice> };
  };
  InferenceSession: { create(model: Uint8Array, options: object): Promise<OrtSession> };
  Tensor: {
    new (type: "float32", data: Float32Array, dims: readonly number[]): OrtTensor;
    fromGpuBuffer(buffer: GPUBuffer, options: object): OrtTensor;
  };
}

export function onnxruntime(ort: Ort, wasmPaths: string): Side {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = wasmPaths;
  const prepare = async (job: Job, { x, w }: Inputs): Promise<Prepared | null> => {
    if (job.kind === "inputGrad" || job.kind === "weightGrad") return null;
    const turn = ([b, h, width, c]: readonly number[]) => [b, c, h, width];
    const conv = job.kind === "matmul" ? null : shapesOf(job);
    const shapes = job.kind === "matmul"
      ? { x: [job.rows, job.depth], w: [job.depth, job.columns], y: [job.rows, job.columns] }
      : { x: turn(conv!.x), w: conv!.w, y: turn(conv!.y) };
    const session = await ort.InferenceSession.create(onnxModel(job, shapes), {
      executionProviders: ["webgpu"],
      preferredOutputLocation: "gpu-buffer",
    });
    const gpu = await ort.env.webgpu.device;
    const buffers: GPUBuffer[] = [];
    const upload = (values: Float32Array<ArrayBuffer>, dims: readonly number[]) => {
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
      const buffer = gpu.createBuffer({ size: Math.ceil(values.byteLength / 16) * 16, usage });
      gpu.queue.writeBuffer(buffer, 0, values);
      buffers.push(buffer);
      return ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims });
    };
    const feeds = { x: upload(conv ? toNCHW(x, conv.x) : x, shapes.x), w: upload(w, shapes.w) };
    let last: OrtTensor | null = null;
    return {
      run: async () => {
        last?.dispose();
        last = (await session.run(feeds)).y;
      },
      wait: () => gpu.queue.onSubmittedWorkDone(),
      read: async () => {
        const values = await last!.getData();
        return conv ? toNHWC(values, conv.y) : values;
      },
      dispose: () => {
        last?.dispose();
        for (const buffer of buffers) buffer.destroy();
        void session.release();
      },
    };
  };
  return { name: "onnxruntime-web", prepare };
}

interface JaxArray {
  readonly ref: JaxArray;
  data(): Promise<ArrayLike<number>>;
  blockUntilReady(): Promise<unknown>;
  dispose(): void;
}
type JaxFunction = (...xs: JaxArray[]) => JaxArray;
interface Jax {
  init(device: "webgpu"): Promise<unknown>;
  defaultDevice(device: "webgpu"): void;
  numpy: {
    array(values: Float32Array, options: { shape: readonly number[] }): JaxArray;
    matmul: JaxFunction;
    repeat(x: JaxArray, times: number, axis: number): JaxArray;
  };
  lax: {
    convGeneralDilated(x: JaxArray, w: JaxArray, strides: number[], padding: [number, number][]): JaxArray;
  };
  jit(f: JaxFunction): JaxFunction & { dispose(): void };
  vjp(f: JaxFunction, primals: JaxArray[]): [JaxArray, ((g: JaxArray) => JaxArray[]) & { dispose?(): void }];
}

export async function jaxJs(jax: Jax): Promise<Side> {
  await jax.init("webgpu");
  jax.defaultDevice("webgpu");
  const { numpy: np, lax } = jax;
  const prepare = (job: Job, { x, w, g }: Inputs): Promise<Prepared | null> => {
    const conv = job.kind === "matmul" ? null : shapesOf(job);
    const turn = ([b, h, width, c]: readonly number[]) => [b, c, h, width];
    let f: JaxFunction, args: JaxArray[];
    if (job.kind === "matmul") {
      f = np.matmul;
      args = [
        np.array(x, { shape: [job.rows, job.depth] }),
        np.array(w, { shape: [job.depth, job.columns] }),
      ];
    } else {
      const { stride, padding: [top, bottom, left, right], upsample } = job;
      const forward = (x: JaxArray, w: JaxArray) =>
        lax.convGeneralDilated(
          upsample === 2 ? np.repeat(np.repeat(x, 2, 2), 2, 3) : x,
          w,
          [stride, stride],
          [[top, bottom], [left, right]],
        );
      const image = np.array(toNCHW(x, conv!.x), { shape: turn(conv!.x) }),
        filter = np.array(w, { shape: conv!.w });
      args = [image, filter];
      if (job.kind === "forward") f = forward;
      else {
        args.push(np.array(toNCHW(g, conv!.y), { shape: turn(conv!.y) }));
        const which = job.kind === "inputGrad" ? 0 : 1;
        // only the gradient is computed: parts of the forward pass that it does not use are left out
        f = (x, w, g) => {
          const [y, back] = which === 0
            ? jax.vjp((x) => forward(x, w), [x])
            : jax.vjp((w) => forward(x, w), [w]);
          y.dispose();
          return back(g)[0];
        };
      }
    }
    const compiled = jax.jit(f);
    let last: JaxArray | null = null;
    return Promise.resolve({
      run: () => {
        last?.dispose();
        last = compiled(...args.map((a) => a.ref));
      },
      wait: () => last!.ref.blockUntilReady(),
      read: async () => {
        const values = await last!.ref.data();
        if (!conv || job.kind === "weightGrad") return values;
        return toNHWC(values, job.kind === "forward" ? conv.y : conv.x);
      },
      dispose: () => {
        [...args, last].forEach((a) => a?.dispose());
        compiled.dispose();
      },
    });
  };
  return { name: "jax-js", prepare };
}

interface TfTensor {
  data(): Promise<ArrayLike<number>>;
  dispose(): void;
}
interface Tf {
  setBackend(name: "webgpu"): Promise<boolean>;
  ready(): Promise<void>;
  backend(): {
    device: GPUDevice;
    ensureCommandEncoderReady(): void;
    endComputePassEncoder(): void;
    submitQueue(): void;
  };
  engine(): { runKernel(name: string, inputs: Record<string, TfTensor>, attributes: object): TfTensor };
  tensor(values: Float32Array, shape: readonly number[]): TfTensor;
  tidy(f: () => TfTensor): TfTensor;
  conv2d(x: TfTensor, w: TfTensor, stride: number, padding: readonly (readonly [number, number])[]): TfTensor;
  matMul(a: TfTensor, b: TfTensor): TfTensor;
  image: { resizeNearestNeighbor(x: TfTensor, size: readonly [number, number]): TfTensor };
}

export async function tfjs(tf: Tf): Promise<Side> {
  await tf.setBackend("webgpu");
  await tf.ready();
  const prepare = (job: Job, { x, w, g }: Inputs): Promise<Prepared | null> => {
    const own: TfTensor[] = [];
    const make = (values: Float32Array, shape: readonly number[]) => {
      const t = tf.tensor(values, shape);
      own.push(t);
      return t;
    };
    let compute: () => TfTensor;
    let filterShape: number[] | null = null;
    if (job.kind === "matmul") {
      const a = make(x, [job.rows, job.depth]), b = make(w, [job.depth, job.columns]);
      compute = () => tf.matMul(a, b);
    } else {
      const shapes = shapesOf(job),
        { stride, padding: [top, bottom, left, right], upsample, size, kernel } = job;
      const image = make(x, shapes.x);
      const filter = make(permuted(w, shapes.w, [2, 3, 1, 0]), [kernel, kernel, job.inputs, job.outputs]);
      const attributes = {
        strides: [stride, stride],
        pad: top,
        dataFormat: "NHWC",
        dimRoundingMode: "floor",
      };
      if (job.kind === "forward") {
        compute = () => {
          const large = upsample === 2 ? tf.image.resizeNearestNeighbor(image, [2 * size, 2 * size]) : image;
          return tf.conv2d(large, filter, stride, [[0, 0], [top, bottom], [left, right], [0, 0]]);
        };
      } else if (job.kind === "inputGrad") {
        const dy = make(g, shapes.y);
        compute = () =>
          tf.engine().runKernel("Conv2DBackpropInput", { dy, filter }, {
            ...attributes,
            inputShape: shapes.x,
          });
      } else {
        const dy = make(g, shapes.y);
        filterShape = [kernel, kernel, job.inputs, job.outputs];
        compute = () =>
          tf.engine().runKernel("Conv2DBackpropFilter", { x: image, dy }, { ...attributes, filterShape });
      }
    }
    let last: TfTensor | null = null;
    return Promise.resolve({
      run: () => {
        last?.dispose();
        last = tf.tidy(compute);
      },
      wait: () => {
        const backend = tf.backend();
        backend.ensureCommandEncoderReady(); // there is no encoder after every fifteenth call
        backend.endComputePassEncoder(); // otherwise the recorded calls are lost
        backend.submitQueue();
        return backend.device.queue.onSubmittedWorkDone();
      },
      read: async () => {
        const values = await last!.data();
        return filterShape ? permuted(values, filterShape, [3, 2, 0, 1]) : values;
      },
      dispose: () => [...own, last].forEach((t) => t?.dispose()),
    });
  };
  return { name: "tfjs", prepare };
}
