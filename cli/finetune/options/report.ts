// The options of finetune that concern how a run is shown.
import { Option } from "commander";
import type { ReportOptions } from "../../../train/index.ts";

/** The values of these options. */
export interface ReportFlags {
  tensorboard?: boolean;
}

/** These options, for the command. */
export const reportOptions: readonly Option[] = [
  new Option("--tensorboard", "write event files, which TensorBoard reads: tensorboard --logdir runs"),
];

/** How a run with these options is shown. */
export function reportOf({ tensorboard }: ReportFlags): ReportOptions {
  return { tensorboard: tensorboard ?? false };
}
