// Makes pages of the chapters of docs/book, so that the panels can link to them without a network. Formulas become MathML.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { Marked } from "marked";
import temml from "temml";

const root = fileURLToPath(new URL("../", import.meta.url)), book = "docs/book";

/** Writes a page for each chapter, the pictures, and the programs that chapters link to, into a folder. */
export function writeBook(folder: string): void {
  mkdirSync(join(folder, "images"), { recursive: true });
  for (const name of readdirSync(join(root, book))) {
    if (name.endsWith(".md")) writeFileSync(join(folder, pageName(name)), page(name, folder));
  }
  copyFileSync(new URL("book.css", import.meta.url), join(folder, "book.css"));
  const images = join(root, book, "images");
  for (const name of readdirSync(images)) copyFileSync(join(images, name), join(folder, "images", name));
}

const pageName = (chapter: string): string =>
  chapter === "README.md" ? "index.html" : chapter.replace(/\.md$/, ".html");

function page(name: string, folder: string): string {
  const text = readFileSync(join(root, book, name), "utf8"), title = /^# (.+)/m.exec(text)?.[1] ?? name;
  const body = markdown(folder).parse(text.replace(/^\$\$ (.+?) \$\$$/gm, (_, tex) => formula(tex)), {
    async: false,
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</title>
<link rel="stylesheet" href="../style.css">
<link rel="stylesheet" href="book.css">
</head>
<body class="book">
<nav><a href="../">Playground</a> <a href="index.html">All chapters</a></nav>
<main>
${body}</main>
</body>
</html>
`;
}

/** A formula as MathML, on a line of its own. Its number, \tag{5}, stands beside it. */
function formula(tex: string): string {
  const [, number] = /\\tag\{(.+?)\}/.exec(tex) ?? [];
  const math = temml.renderToString(tex.replace(/\\tag\{.+?\}/, ""), {
    displayMode: true,
    throwOnError: true,
  });
  return `<div class="formula">${math}${number === undefined ? "" : `<span>(${number})</span>`}</div>`;
}

/** Links to chapters become links to their pages; programs are copied as texts; other files of the repository are only named. */
function markdown(folder: string): Marked {
  return new Marked({
    renderer: {
      link({ href, tokens }) {
        const words = this.parser.parseInline(tokens);
        if (/^(https?:|#)/.test(href)) return `<a href="${href}">${words}</a>`;
        const path = normalize(join(book, href));
        if (dirname(path) === book && path.endsWith(".md")) {
          return `<a href="${pageName(basename(path))}">${words}</a>`;
        }
        if (!path.endsWith(".ts")) return words;
        const copy = `${basename(path, ".ts").replace(/^\d$/, "solutions-$&")}.ts.txt`;
        copyFileSync(join(root, path), join(folder, copy));
        return `<a href="${copy}">${words}</a>`;
      },
    },
  });
}
