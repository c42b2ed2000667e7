// Makes the page of a run: one HTML file with its style, its program and its data inside, so that it needs no network. What a
// run says is data for the program, which writes it as text and never as HTML; a policy forbids any other program.
import { createHash } from "node:crypto";
import { readAsset } from "../../data/files/asset.ts";
import type { RunReport } from "./report.ts";

/** The program, in the order in which its modules need each other. */
const modules = ["dom.js", "series.js", "chart.js", "pictures.js", "page.js"];
const styles = ["page.css", "pictures.css"];

let assets: Promise<{ style: string; script: string }> | null = null;

async function loadAssets(): Promise<{ style: string; script: string }> {
  const read = async (name: string) =>
    new TextDecoder().decode(await readAsset(new URL(`page/${name}`, import.meta.url)));
  const [scripts, sheets] = await Promise.all([modules, styles].map((names) => Promise.all(names.map(read))));
  return {
    style: sheets.join("\n"),
    script: `(() => {\n"use strict";\n${scripts.map(withoutModules).join("\n")}})();\n`,
  };
}

/** Makes one program of modules: what they export is known to all that follow, so nothing is left to import. */
function withoutModules(text: string): string {
  return text.replace(/^import [^;]*;\n/gm, "").replace(/^export /gm, "");
}

/**
 * Returns the page.
 * @param report what it shows
 * @param isLive whether it asks its server for `data.json` every two seconds
 */
export async function renderPage(report: RunReport, isLive: boolean): Promise<string> {
  const { style, script } = await (assets ??= loadAssets());
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    `img-src data:${isLive ? " 'self'" : ""}`,
    ...isLive ? ["connect-src 'self'"] : [],
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  const data = JSON.stringify({ report, isLive }).replaceAll("<", "\\u003c");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${escapeHtml(report.name)} · Tessera</title>
<style>${style}</style>
</head>
<body>
<main id="page"><noscript>This page draws its curves with JavaScript, which is switched off.</noscript></main>
<script id="data" type="application/json">${data}</script>
<script>${script}</script>
</body>
</html>
`;
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(
    '"',
    "&quot;",
  );
}
