// What the measurements of a run are taken to say.
import { describe, expect, test } from "bun:test";
import type { Best, Measured } from "../../../train/run/state.ts";
import { judge, overfitting } from "../../../train/run/verdict.ts";

const at = (step: number, held: number | null, seen: number): Measured => ({
  step,
  values: { ...held === null ? {} : { "val/rec_loss": held }, "seen/rec_loss": seen },
});
const bestOf = ({ step, values }: Measured, file: string | null = null): Best => ({
  ...{ step, file },
  loss: values["val/rec_loss"] ?? values["seen/rec_loss"],
  seen: values["seen/rec_loss"],
});
const fileOf = ({ step, file }: Best) => file ?? (step === 0 ? "model.safetensors" : null);

describe("judge", () => {
  test("names the model that the run started from if every step is worse, and says so", () => {
    const first = at(0, 0.24, 0.2), last = at(400, 0.26, 0.15);
    const { best, lines } = judge({ first, last, best: bestOf(first) }, fileOf);
    expect(best).toEqual({ step: 0, loss: 0.24, path: "model.safetensors" });
    expect(lines[0]).toContain("worse than at step 0: rec_loss 0.2400 -> 0.2600");
    expect(lines[1]).toContain("overfitting since step 0");
    expect(lines[2]).toContain("the model that the run started from, rec_loss 0.2400: model.safetensors");
  });

  test("says nothing but the best file of a run that gets better to its end", () => {
    const last = at(400, 0.2, 0.18);
    const { lines } = judge(
      { first: at(0, 0.24, 0.22), last, best: bestOf(last, "step-000400.safetensors") },
      fileOf,
    );
    expect(lines).toEqual(["best checkpoint: step 400, rec_loss 0.2000: step-000400.safetensors"]);
  });

  test("compares training pictures if none are kept back, and never calls that overfitting", () => {
    const first = at(0, null, 0.2), last = at(9, null, 0.3);
    const { lines } = judge({ first, last, best: bestOf(first) }, fileOf);
    expect(lines.length).toBe(2);
    expect(lines[0]).toContain("rec_loss 0.2000 -> 0.3000");
  });

  test("has nothing to say of a run that was not measured", () => {
    expect(judge({ first: null, last: null, best: null }, fileOf)).toEqual({ best: null, lines: [] });
  });

  test("says when the best file could not be kept", () => {
    const best = at(5, 0.1, 0.1);
    const { lines } = judge({ first: at(0, 0.2, 0.2), last: best, best: bestOf(best) }, fileOf);
    expect(lines[0]).toContain("could not be kept");
  });
});

describe("overfitting", () => {
  const best = bestOf(at(100, 0.2, 0.18));

  test("is training pictures getting better while those kept back get worse", () => {
    expect(overfitting({ last: at(200, 0.21, 0.17), best })).toContain("since step 100");
  });

  test("is not a model that gets worse on both, better on both, or changes by less than noise", () => {
    for (const [held, seen] of [[0.21, 0.19], [0.19, 0.17], [0.2002, 0.17], [0.21, 0.1799], [0.2, 0.18]]) {
      expect(overfitting({ last: at(200, held, seen), best })).toBe(null);
    }
  });
});
