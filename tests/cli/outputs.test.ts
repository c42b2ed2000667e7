// Where results go, and what of them is there already.
import { expect, test } from "bun:test";
import { join } from "node:path";
import { outputPaths } from "../../cli/outputs.ts";

const paths = (pictures: readonly string[]) =>
  outputPaths("out", pictures, ".png").map((path) => path.replaceAll("\\", "/").slice(4));

test("results keep their subfolders, below those that all of them share", () => {
  expect(paths(["faces/a.jpg", "faces/sub/b.png", "faces/sub/deep/c.webp"])).toEqual([
    ...["a.png", "sub/b.png", "sub/deep/c.png"],
  ]);
  expect(paths(["/data/one/a.jpg", "/data/two/a.jpg"])).toEqual(["one/a.png", "two/a.png"]);
  expect(paths(["shards/0.tar/1.jpg", "shards/1.tar/1.jpg"])).toEqual(["0.tar/1.png", "1.tar/1.png"]);
  expect(paths(["C:\\photos\\a\\1.jpg", "C:\\photos\\b\\2.jpg"])).toEqual(["a/1.png", "b/2.png"]);
  expect(paths(["only/one.jpg"])).toEqual(["one.png"]);
});

test("only the extension of a picture is left out, and no result has the name of another", () => {
  expect(paths(["v1.2", "a.JPG", "a.png", "A.webp", "key"])).toEqual([
    ...["v1.2.png", "a.png", "a-2.png", "A-3.png", "key.png"],
  ]);
});

test("nothing leads out of the folder, and names are safe", () => {
  expect(paths(["../../etc/x.jpg", "/etc/y.jpg"])).toEqual(["x.png", "y.png"]);
  expect(paths(["a/\u001b]0;pwned\u0007.jpg", "a/b:c?.jpg", ".."])).toEqual([
    ...["a/_]0;pwned_.png", "a/b_c_.png", "picture.png"],
  ]);
});

test("names that are too long for a disk are shortened, to different ones", () => {
  const long = "ü".repeat(200), made = paths([long, `${long}x`, `${long}/${long}.jpg`]);
  expect(new Set(made).size).toBe(3);
  for (const part of made.flatMap((path) => path.split("/"))) {
    expect(new TextEncoder().encode(part).length).toBeLessThanOrEqual(255);
  }
  expect(made[0]).toMatch(/^ü+-[0-9a-f]{8}\.png$/);
  expect(paths(["n".repeat(1e6)])[0]).toMatch(/^n{242}-[0-9a-f]{8}\.png$/); // took gigabytes once
  expect(paths(Array(50_000).fill("a")).at(-1)).toBe("a-50000.png"); // counts on, and does not begin again
  expect(outputPaths("out", ["n".repeat(251)], ".png")).toEqual([join("out", `${"n".repeat(251)}.png`)]);
});
