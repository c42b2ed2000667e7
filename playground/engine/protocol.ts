// The messages between the page and the engine's worker. The page sends { id, op, request }. The worker sends messages with the
// same id back: reports while it works, and then one answer or one error.
import type { Call } from "./engine.ts";
import type { operations } from "./operations.ts";

/** All operations of the engine, by name. */
export type Operations = typeof operations;
/** The name of an operation. */
export type Op = keyof Operations;
/** What an operation is asked with. */
export type RequestOf<K extends Op> = Parameters<Operations[K]>[1];
/** What an operation returns. */
export type AnswerOf<K extends Op> = Awaited<ReturnType<Operations[K]>>;
/** What an operation reports while it works. */
export type ReportOf<K extends Op> = Parameters<Operations[K]> extends [unknown, unknown, Call<infer Report>]
  ? Report
  : never;

/** From the page. `stop` asks the operation with this id to end at its next turn. */
export type ToEngine =
  | { readonly id: number; readonly op: Op; readonly request: unknown }
  | { readonly id: number; readonly stop: true };

/** From the worker. */
export type FromEngine =
  | { readonly id: number; readonly report: unknown }
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: string };
