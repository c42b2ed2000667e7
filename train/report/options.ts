// What a run writes for other programs that show runs. It is off by default.
import { checkOptions, flag, needed, type Rules } from "../../src/check.ts";

/** The options of a run that concern how it is shown. */
export interface ReportOptions {
  /** Whether to write event files, which TensorBoard reads, into the run's folder. */
  readonly tensorboard: boolean;
}

/** No event files. */
export const defaultReport: ReportOptions = { tensorboard: false };

const rules: Rules<ReportOptions> = { tensorboard: needed(flag) };

/** @throws TypeError naming the first option that is wrong */
export function checkReport(who: string, options: ReportOptions): void {
  checkOptions(`${who}: report`, options, rules);
}
