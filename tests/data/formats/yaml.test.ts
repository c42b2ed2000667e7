// Settings in YAML, read as PyYAML and OmegaConf 2.0 read them. tests/interop/authors.test.ts asks both for the same values.
import { describe, expect, test } from "bun:test";
import { joinSettings } from "../../../data/formats/yaml.ts";
import { yamlScalars } from "../../support/yaml.ts";

const join = (text: string, assignments: string[] = []) =>
  joinSettings([{ path: "a.yaml", text }], assignments);

describe("a value", () => {
  for (const [text, value] of yamlScalars) {
    test(`${text} is ${JSON.stringify(value)}`, () => {
      expect(join(`a: ${text}`).get("a")).toEqual(value);
      expect(join("", [`a=${text}`]).get("a")).toEqual(value);
    });
  }
});

test("of two equal keys the last one counts, and groups take over what they merge in", () => {
  expect(join("a: 1\na: 2").get("a")).toBe(2);
  const group = join("a: &a {p: 1, q: 2}\nb:\n  <<: *a\n  q: 3").get("b");
  expect(group).toEqual(new Map([["p", 1], ["q", 3]]));
});

describe("a reference", () => {
  test("stands for a value, a group or a part of a text", () => {
    const settings = join("a: {b: [1, 2], c: no}\nd: ${a}\ne: x${a.c}${f}y\nf: ${g}\ng: 020");
    expect(settings.get("d")).toEqual(settings.get("a"));
    expect([settings.get("e"), settings.get("f")]).toEqual(["xfalse16y", 16]);
    expect(join("a: ${b}\nb: 1", ["b=2"]).get("a")).toBe(2);
  });

  for (
    const [text, message] of [
      ["a: ${b}", '"${b}" refers to b, which no config sets'],
      ["a: ${b}\nb: [1, '${a}']", "refers back to it"],
      ["a: ${env:HOME}", "refers to env:HOME, which is not the name of a setting; write out its value"],
    ]
  ) test(`is refused: ${text}`, () => expect(() => join(text)).toThrow(message));
});

test("hostile texts: endless aliases and references, deep nesting, odd keys", () => {
  const doubled = (item: (i: number) => string) =>
    Array.from({ length: 30 }, (_, i) => `a${i + 1}: ${item(i)}`).join("\n");
  expect(() => join(`a0: &a0 [x, x]\n${doubled((i) => `&a${i + 1} [*a${i}, *a${i}]`)}`)).toThrow("a.yaml: ");
  expect(() => join(`a0: x\n${doubled((i) => `["\${a${i}}", "\${a${i}}"]`)}`)).toThrow(
    "10000 other references",
  );
  expect(() => join("[".repeat(100_000))).toThrow("a.yaml: ");
  expect(() => join("a: &a [*a]")).toThrow("a.yaml: a: it has more than 100 levels");
  expect(() => join("a: &a {b: *a}")).toThrow("it has more than 100 levels");
  expect(() => join("? [x]\n: 1")).toThrow("a.yaml: a key that is a list or a group");
  const odd = join("__proto__: {polluted: 1}\nconstructor: 2", ["__proto__.x=1"]);
  expect([...odd.keys()]).toEqual(["__proto__", "constructor"]);
  expect("polluted" in {}).toBe(false);
});
