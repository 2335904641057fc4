/**
 * Builds what streaming_chat/static/streaming_chat/ holds: `npm ci && npm run build`.
 *
 * chat.js is what a page loads first, markdown.js comes with the first reply, highlighter.js with the first code in one. The
 * licences of what is in them are in LICENSES.txt. Prints what each weighs; fails where the first load is too heavy. With
 * `--check` it writes nothing, and fails where what is there is something else.
 */

import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

import { lexerOnly } from "./lexer-only.mjs";

const TARGET = new URL("../streaming_chat/static/streaming_chat/", import.meta.url);
const FIRST_LOAD_BYTES = 35 * 1024;
const ENTRIES = {
  chat: "src/index.js",
  markdown: "src/markdown/document.js",
  highlighter: "src/markdown/highlighter.js",
};

const common = { bundle: true, minify: true, write: false, charset: "utf8", legalComments: "none" };
const { outputFiles, metafile } = await build({
  ...common,
  entryPoints: ENTRIES,
  outdir: "out",
  format: "esm",
  target: "es2022",
  plugins: [lexerOnly],
  metafile: true,
});
const style = await build({ ...common, entryPoints: { chat: "src/style/chat.css" }, outdir: "out", target: "es2022" });

const built = [...outputFiles, ...style.outputFiles].map(({ path, contents }) => [path.slice(path.lastIndexOf("/") + 1), contents]);
const weights = {};
for (const [name, contents] of built) {
  weights[name] = gzipSync(contents, { level: 9 }).length;
  console.log(`${name}: ${contents.length} bytes, ${weights[name]} gzipped`);
}
built.push(["LICENSES.txt", Buffer.from(await licences(Object.keys(metafile.inputs)))]);
for (const [name, contents] of built) {
  const place = new URL(name, TARGET);
  if (!process.argv.includes("--check")) await writeFile(place, contents);
  else if (!Buffer.from(contents).equals(await readFile(place).catch(() => Buffer.alloc(0)))) fail(`${name} is not what the source gives: npm run build.`);
}
if (weights["chat.js"] > FIRST_LOAD_BYTES) fail(`chat.js may be ${FIRST_LOAD_BYTES} bytes gzipped, got ${weights["chat.js"]}.`);

function fail(why) {
  console.error(why);
  process.exitCode = 1;
}

/** Return the licences of the packages that these files come from. */
async function licences(files) {
  const packages = new Set(files.map((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1]).filter(Boolean));
  const texts = [];
  for (const name of [...packages].sort()) {
    const { version, license } = JSON.parse(await readFile(`node_modules/${name}/package.json`));
    texts.push(`${name} ${version} (${license})\n\n${(await readFile(`node_modules/${name}/LICENSE`, "utf8")).trim()}\n`);
  }
  return texts.join(`\n${"-".repeat(78)}\n\n`);
}
