// A line of doctor's report.

export interface Finding {
  readonly name: string;
  readonly found: string;
  /** What the user can do about it; absent when all is well. */
  readonly advice?: string;
  /** Tessera does not work without it. */
  readonly isVital?: boolean;
}
