/**
 * An esbuild plugin that keeps of marked only the lexer.
 *
 * marked comes as one file, and an instance at its end keeps esbuild from removing the renderer and parser, which nothing here uses.
 */

import { readFile } from "node:fs/promises";

const FIRST_UNUSED = /var [\w$]+=class\{options;parser;/;

function cut(source) {
  const end = source.search(FIRST_UNUSED);
  const name = (exported) => source.match(new RegExp(`([\\w$]+) as ${exported}[,}]`))?.[1];
  const lexer = name("Lexer");
  const tokenizer = name("Tokenizer");
  if (end < 0 || !lexer || !tokenizer) {
    throw new Error("marked's file has another structure than lexer-only.mjs expects: find out where its renderer begins now.");
  }
  return `${source.slice(0, end)}\nexport { ${lexer} as Lexer, ${tokenizer} as Tokenizer };`;
}

export const lexerOnly = {
  name: "lexer-only",
  setup(build) {
    build.onLoad({ filter: /[\\/]marked\.esm\.js$/ }, async ({ path }) => ({ contents: cut(await readFile(path, "utf8")) }));
  },
};
