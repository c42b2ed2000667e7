// The jobs that all sides run: the convolutions of f16-16384, of its discriminator and of VGG16's first layers, forward and
// both gradients, and the matrix products of attention and of the search for codes.

/** A convolution of [1, size, size, inputs], or one of its gradients. */
export interface ConvJob {
  readonly kind: "forward" | "inputGrad" | "weightGrad";
  readonly size: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly kernel: number;
  readonly stride: 1 | 2;
  /** Zeros [top, bottom, left, right]. */
  readonly padding: readonly [number, number, number, number];
  /** 2: the picture is first enlarged by nearest neighbour. */
  readonly upsample: 1 | 2;
}

/** a [rows, depth] b [depth, columns]. */
export interface MatmulJob {
  readonly kind: "matmul";
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
}

export type Job = ConvJob | MatmulJob;

interface Shape {
  readonly size: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly kernel?: number;
  readonly stride?: 1 | 2;
  readonly upsample?: 1 | 2;
  /** Whether the gradients are measured as well. */
  readonly isLearnt?: boolean;
}

function conv(
  kind: ConvJob["kind"],
  { size, inputs, outputs, kernel = 3, stride = 1, upsample = 1 }: Shape,
): ConvJob {
  const pad = kernel === 1 ? 0 : 1;
  const padding = stride === 2 && kernel === 3 ? [0, 1, 0, 1] as const : [pad, pad, pad, pad] as const;
  return { kind, size, inputs, outputs, kernel, stride, padding, upsample };
}

const shapes: readonly Shape[] = [
  { size: 256, inputs: 3, outputs: 128 },
  { size: 256, inputs: 128, outputs: 128, isLearnt: true },
  { size: 256, inputs: 128, outputs: 128, stride: 2, isLearnt: true },
  { size: 64, inputs: 256, outputs: 256, isLearnt: true },
  { size: 64, inputs: 256, outputs: 256, upsample: 2, isLearnt: true },
  { size: 16, inputs: 512, outputs: 512, isLearnt: true },
  { size: 128, inputs: 256, outputs: 128, kernel: 1, isLearnt: true },
  { size: 256, inputs: 128, outputs: 3, isLearnt: true },
  // VGG16
  { size: 256, inputs: 3, outputs: 64, isLearnt: true },
  { size: 256, inputs: 64, outputs: 64, isLearnt: true },
  // the discriminator; the fourth job is from the one with three layers
  { size: 256, inputs: 3, outputs: 64, kernel: 4, stride: 2, isLearnt: true },
  { size: 128, inputs: 64, outputs: 128, kernel: 4, stride: 2, isLearnt: true },
  { size: 64, inputs: 128, outputs: 256, kernel: 4, isLearnt: true },
  { size: 32, inputs: 256, outputs: 512, kernel: 4 },
  { size: 63, inputs: 256, outputs: 1, kernel: 4, isLearnt: true },
];
const products: readonly (readonly [number, number, number])[] = [
  [256, 512, 512],
  [256, 512, 256],
  [256, 256, 16384],
];

/** @param most the most multiplications; larger pictures are halved until they fit, which software GPUs need */
export function jobs(most: number): Job[] {
  const fit = (job: ConvJob): ConvJob =>
    flops(job) / 2 <= most || job.size <= 16 ? job : fit({ ...job, size: job.size >> 1 });
  const learnt = shapes.filter(({ isLearnt }) => isLearnt);
  return [
    ...shapes.map((shape) => fit(conv("forward", shape))),
    ...learnt.map((shape) => fit(conv("inputGrad", shape))),
    ...learnt.map((shape) => fit(conv("weightGrad", shape))),
    ...products.map(([rows, depth, columns]) => ({ kind: "matmul", rows, depth, columns }) as const),
  ];
}

export function outSize({ size, kernel, stride, padding, upsample }: ConvJob): number {
  return Math.floor((size * upsample + padding[0] + padding[1] - kernel) / stride) + 1;
}

/** The number of operations by the definition. */
export function flops(job: Job): number {
  if (job.kind === "matmul") return 2 * job.rows * job.depth * job.columns;
  return 2 * outSize(job) ** 2 * job.inputs * job.outputs * job.kernel ** 2;
}

export function describe(job: Job): string {
  if (job.kind === "matmul") return `matmul ${job.rows}x${job.depth}x${job.columns}`;
  const { kind, kernel, inputs, outputs, size, stride, upsample } = job;
  const what = { forward: "", inputGrad: "dX of ", weightGrad: "dW of " }[kind];
  const how = stride === 2 ? ", stride 2" : upsample === 2 ? ", enlarging" : "";
  return `${what}${kernel}x${kernel} ${inputs}->${outputs} at ${size}x${size}${how}`;
}
