/**
 * Builds the files in streaming_chat/static/streaming_chat/: `npm ci && npm run build`.
 *
 * A page loads chat.js first, markdown.js with the first reply, highlighter.js with the first code in a reply, and
 * typesetter.js with the first formula. The admin shows a live reply with markdown.js and markdown.css, without the rest of the chat.
 * client.js is for front ends of others (docs/client.md). LICENSES.txt has the licences of the packages in them. The build prints
 * the size of each file, and fails if one is larger than its budget. With `--check` it writes nothing, and fails if a file differs
 * from what the source gives.
 */

import { readdir, readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

import { alias } from "./aliases.mjs";

const TARGET = new URL("../streaming_chat/static/streaming_chat/", import.meta.url);
// In bytes, gzipped.
const BUDGETS = { "chat.js": 35 * 1024, "client.js": 6 * 1024 };
const ENTRIES = {
  chat: "src/index.js",
  client: "src/client.js",
  markdown: "src/markdown/document.js",
  highlighter: "src/markdown/highlighter.js",
  typesetter: "src/markdown/typesetter.js",
};

const common = { alias, bundle: true, minify: true, write: false, charset: "utf8", legalComments: "none" };
const { outputFiles, metafile } = await build({
  ...common,
  entryPoints: ENTRIES,
  outdir: "out",
  format: "esm",
  target: "es2022",
  metafile: true,
});
const STYLES = { chat: "src/style/chat.css", markdown: "src/markdown/markdown.css" };
const style = await build({ ...common, entryPoints: STYLES, outdir: "out", target: "es2022" });

const built = [...outputFiles, ...style.outputFiles].map(({ path, contents }) => [path.slice(path.lastIndexOf("/") + 1), contents]);
const sizes = {};
for (const [name, contents] of built) {
  sizes[name] = gzipSync(contents, { level: 9 }).length;
  console.log(`${name}: ${contents.length} bytes, ${sizes[name]} gzipped`);
}
built.push(["LICENSES.txt", Buffer.from(await licences(Object.keys(metafile.inputs)))]);
built.push(["client.d.ts", await readFile("declarations/client.d.ts")]);
for (const [name, contents] of built) {
  const target = new URL(name, TARGET);
  if (!process.argv.includes("--check")) await writeFile(target, contents);
  else if (!Buffer.from(contents).equals(await readFile(target).catch(() => Buffer.alloc(0)))) fail(`${name} differs from what the source gives: run "npm run build".`);
}
for (const [name, bytes] of Object.entries(BUDGETS)) {
  if (sizes[name] > bytes) fail(`${name} may have at most ${bytes} bytes gzipped, got ${sizes[name]}.`);
}

function fail(reason) {
  console.error(reason);
  process.exitCode = 1;
}

/** Return the text of LICENSES.txt, for the packages that these source files belong to. */
async function licences(files) {
  const packages = new Set(files.map((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1]).filter(Boolean));
  const texts = [];
  for (const name of [...packages].sort()) {
    const { version, license } = JSON.parse(await readFile(`node_modules/${name}/package.json`));
    const file = (await readdir(`node_modules/${name}`)).find((found) => found.startsWith("LICENSE"));
    texts.push(`${name} ${version} (${license})\n\n${(await readFile(`node_modules/${name}/${file}`, "utf8")).trim()}\n`);
  }
  return texts.join(`\n${"-".repeat(78)}\n\n`);
}
