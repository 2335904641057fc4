/** Modules of ours in place of packages that markdown-it imports: 33 KB of which the browser needs nothing. Paths from frontend/. */

export const alias = {
  "entities": "./src/markdown/character-references.js",
  "linkify-it": "./src/markdown/no-linkify.js",
};
