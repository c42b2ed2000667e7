// One line of doctor's report.

export interface Finding {
  readonly name: string;
  readonly found: string;
  /** What the user can do about a problem; undefined if all is well. */
  readonly advice?: string;
  /** Whether Tessera cannot work without it. */
  readonly isVital?: boolean;
}
