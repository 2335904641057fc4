/**
 * Formulas in TeX as MathML, by KaTeX. A module of its own: it is the largest, and few replies need it.
 *
 * MathML needs neither KaTeX's fonts nor its style sheet, and no style attributes, which a strict policy blocks.
 */

import katex from "katex";

const OPTIONS = { output: "mathml", throwOnError: true, strict: "ignore", trust: false, maxSize: 20, maxExpand: 1000 };
const DELIMITERS = /^(\$\$|\\\[|\\\(|\$)([^]*?)(?:\$\$|\\\]|\\\)|\$)$/;
const A = 0x41;
const SMALL_A = 0x61;
const ZERO = 0x30;
// Browsers follow MathML Core, which has letters of their own instead of the attribute mathvariant. Where the capital letters begin,
// the small ones and the digits; 0 for none.
/** @type {Record<string, [number, number, number]>} */
const ALPHABETS = {
  "bold": [0x1d400, 0x1d41a, 0x1d7ce],
  "italic": [0x1d434, 0x1d44e, 0],
  "bold-italic": [0x1d468, 0x1d482, 0],
  "script": [0x1d49c, 0x1d4b6, 0],
  "bold-script": [0x1d4d0, 0x1d4ea, 0],
  "fraktur": [0x1d504, 0x1d51e, 0],
  "double-struck": [0x1d538, 0x1d552, 0x1d7d8],
  "bold-fraktur": [0x1d56c, 0x1d586, 0],
  "sans-serif": [0x1d5a0, 0x1d5ba, 0x1d7e2],
  "bold-sans-serif": [0x1d5d4, 0x1d5ee, 0x1d7ec],
  "sans-serif-italic": [0x1d608, 0x1d622, 0],
  "sans-serif-bold-italic": [0x1d63c, 0x1d656, 0],
  "monospace": [0x1d670, 0x1d68a, 0x1d7f6],
};
// Letters that Unicode had before it had their alphabets.
/** @type {Record<string, Record<string, string>>} */
const OLDER_LETTERS = {
  "italic": { h: "ℎ" },
  "script": { B: "ℬ", E: "ℰ", F: "ℱ", H: "ℋ", I: "ℐ", L: "ℒ", M: "ℳ", R: "ℛ", e: "ℯ", g: "ℊ", o: "ℴ" },
  "fraktur": { C: "ℭ", H: "ℌ", I: "ℑ", R: "ℜ", Z: "ℨ" },
  "double-struck": { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" },
};

/**
 * Return a formula as a MathML element, null if it is not valid TeX.
 *
 * @param {string} formula With its delimiters.
 * @returns {Element | null}
 */
export function typeset(formula) {
  const [, delimiter, tex] = DELIMITERS.exec(formula) ?? [];
  if (!delimiter) return null;
  const displayMode = delimiter === "$$" || delimiter === "\\[";
  // Models often leave out the environment that "&" needs.
  const tree = treeOf(tex, displayMode) ?? (displayMode ? treeOf(`\\begin{aligned}${tex}\\end{aligned}`, true) : null);
  if (!tree) return null;
  removeStyles(tree);
  const math = tree.toNode().querySelector("math");
  for (const leaf of math.querySelectorAll("[mathvariant]")) useAlphabet(leaf);
  for (const table of math.querySelectorAll("mtable[columnalign]")) alignColumns(table);
  return math;
}

/**
 * Return KaTeX's tree of a formula, null for what is not valid.
 *
 * @param {string} tex
 * @param {boolean} displayMode
 */
function treeOf(tex, displayMode) {
  try {
    return /** @type {any} */ (katex).__renderToDomTree(tex, { ...OPTIONS, displayMode });
  } catch {
    return null;
  }
}

/** @param {{attributes?: Record<string, string>, children?: any[]}} node Of KaTeX's tree. */
function removeStyles({ attributes, children = [] }) {
  delete attributes?.style;
  children.forEach(removeStyles);
}

/** @param {Element} leaf */
function useAlphabet(leaf) {
  const variant = leaf.getAttribute("mathvariant") ?? "";
  const alphabet = ALPHABETS[variant];
  if (!alphabet) return;
  leaf.textContent = (leaf.textContent ?? "").replace(/[A-Za-z0-9]/g, (character) => letter(character, alphabet, OLDER_LETTERS[variant]));
  leaf.removeAttribute("mathvariant");
}

/**
 * @param {string} character
 * @param {[number, number, number]} alphabet
 * @param {Record<string, string>} [older]
 */
function letter(character, [capitals, small, digits], older = {}) {
  if (older[character]) return older[character];
  const code = character.charCodeAt(0);
  if (code >= SMALL_A) return String.fromCodePoint(small + code - SMALL_A);
  if (code >= A) return String.fromCodePoint(capitals + code - A);
  return digits ? String.fromCodePoint(digits + code - ZERO) : character;
}

/**
 * Browsers align the cells of a table by CSS only.
 *
 * @param {Element} table
 */
function alignColumns(table) {
  const sides = (table.getAttribute("columnalign") ?? "").split(" ");
  for (const row of table.children) {
    for (const [index, cell] of [...row.children].entries()) cell.classList.add(`sc-${sides[Math.min(index, sides.length - 1)]}`);
  }
}
