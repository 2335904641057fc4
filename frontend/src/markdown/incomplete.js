/**
 * Completes Markdown whose end has not arrived yet as it will most likely continue: markup that is half there would flicker. No DOM.
 *
 * Only the end of a text is looked at, and only while the text grows.
 */

import { source } from "./syntax.js";

// A line that so far is only a marker: of a list, a task, a heading, a rule, a fence, or the underline of a heading.
const BARE_MARKER = /(?:^|\n)[ >]*(?:[-=+*_#|:`~> ]+|[$\\]|\d{1,9}[.)]?|(?:[-*+]|\d{1,9}[.)]) +\[[ xX]?\]? *)$/;
const FORMULA_START = /(?:^|\n)[ >]*(?:(?:[-*+]|\d{1,9}[.)]) +)?(\$\$|\\\[)/g;
/** @type {Record<string, string>} */
const FORMULA_ENDS = { $$: "$$", "\\[": "\\]" };
const MAX_FORMULA = 5_000;
const TABLE_LINE = /^ {0,3}\|/;
// The second line of a table, or the beginning of one.
const TABLE_RULE = /^ {0,3}[|:-][|: -]*$/;
// Complete code, escapes and formulas, and the beginning of a formula that is not complete.
const FORMULA = new RegExp(`(?<other>(\`+)(?!\`)[^]*?(?<!\`)\\2(?!\`)|\\\\\\\\)|(?<formula>${source("formula")})|(?<open>\\\\[([]|\\$\\$)`, "gu");
// The beginning of a line break, a footnote's mark or an escape.
const HALF = /(?:<(?:br?[ \t]*\/?)?|\[\^[^\s\]]*|(?<!\\)\\)$/i;
const LINK = /(!?)\[([^[\]\n]*)\]\([^()\s]*$/;
const RUNS = /\\.|`+|\*\*|~~/gs;

/** @typedef {{run: string, index: number}} Run A delimiter such as "**", and where it is in its line. */

/**
 * Return a text whose last block looks as it will: without a formula that has only begun, with the beginning of a table as a table, and
 * without a last line that is only a marker so far.
 *
 * @param {string} text
 */
export function completeBlock(text) {
  const shown = withoutOpenFormula(text);
  return completeTable(shown) ?? withoutBareMarker(shown);
}

/**
 * Return a text without the formula at its end that has lines of its own and is not complete.
 *
 * @param {string} text
 */
function withoutOpenFormula(text) {
  const start = lastParagraph(text);
  FORMULA_START.lastIndex = start;
  for (let match; (match = FORMULA_START.exec(text)); ) {
    const end = text.indexOf(FORMULA_ENDS[match[1]], FORMULA_START.lastIndex);
    if (end < 0) return text.length - match.index > MAX_FORMULA ? text : text.slice(0, match.index + 1).trimEnd() + "\n";
    FORMULA_START.lastIndex = end;
  }
  return text;
}

/**
 * Return where the last paragraph of a text begins.
 *
 * @param {string} text
 */
function lastParagraph(text) {
  const blank = text.trimEnd().lastIndexOf("\n\n");
  return blank < 0 ? 0 : blank + 2;
}

/**
 * Return a text that ends with the first line of a table with its second line, null for any other text.
 *
 * @param {string} text
 */
function completeTable(text) {
  const lines = text.slice(lastParagraph(text)).trimEnd().split("\n");
  if (lines.slice(1, -1).some((line) => TABLE_RULE.test(line))) return null;
  const last = lines.at(-1) ?? "";
  if (lines.length > 1 && TABLE_RULE.test(last)) {
    const head = lines.at(-2) ?? "";
    return head.includes("|") && !text.endsWith("\n") ? withRule(text.slice(0, text.lastIndexOf("\n")), head) : null;
  }
  return TABLE_LINE.test(last) && !TABLE_RULE.test(last) ? withRule(text.trimEnd(), last) : null;
}

/**
 * @param {string} text
 * @param {string} head Its last line.
 */
function withRule(text, head) {
  const cells = head.trim().replace(/^\||(?<!\\)\|$/g, "").split(/(?<!\\)\|/);
  return `${text}\n|${"---|".repeat(cells.length)}`;
}

/**
 * Return a text without a last line that is only a marker so far.
 *
 * @param {string} text
 */
function withoutBareMarker(text) {
  const end = text.lastIndexOf("\n") + 1;
  return BARE_MARKER.test(text.slice(end)) ? text.slice(0, end) : text;
}

/**
 * Return inline text with its open code, link, bold and strikethrough closed.
 *
 * @param {string} text
 */
export function closeInline(text) {
  const whole = withoutHalf(text);
  const start = whole.lastIndexOf("\n") + 1;
  let line = whole.slice(start);
  const open = openRuns(line.replace(FORMULA, (piece, ...rest) => (rest.at(-1).formula ? "x".repeat(piece.length) : piece)));
  const code = open.find(({ run }) => run[0] === "`");
  if (code) open.length = open.indexOf(code) + 1;
  else line = line.replace(LINK, "$2");
  for (const run of open.toReversed()) line = closeRun(line, run);
  return whole.slice(0, start) + line;
}

/**
 * Return a text without what is half there at its end: a formula, a line break, the mark of a footnote, an escape.
 *
 * @param {string} text
 */
function withoutHalf(text) {
  for (const { index, groups } of text.matchAll(FORMULA)) {
    if (groups?.open && text.length - index <= MAX_FORMULA) return text.slice(0, index);
  }
  return text.replace(HALF, "");
}

/**
 * Return the delimiters of a line that nothing has closed yet, in their order.
 *
 * @param {string} line
 */
function openRuns(line) {
  /** @type {Run[]} */
  const open = [];
  RUNS.lastIndex = 0;
  for (let match; (match = RUNS.exec(line)); ) {
    const [run] = match;
    if (run[0] === "\\") continue;
    if (run[0] === "`") {
      const end = codeEnd(line, run.length, RUNS.lastIndex);
      if (end < 0) return [...open, { run, index: match.index }];
      RUNS.lastIndex = end;
      continue;
    }
    const before = open.findIndex((other) => other.run === run);
    if (before >= 0) open.length = before;
    else if (/^(?:\S|$)/.test(line.slice(RUNS.lastIndex))) open.push({ run, index: match.index });
  }
  return open;
}

/**
 * Return where inline code ends, -1 if it does not.
 *
 * @param {string} line
 * @param {number} length Of its delimiter.
 * @param {number} from
 */
function codeEnd(line, length, from) {
  for (const { 0: run, index } of line.slice(from).matchAll(/`+/g)) {
    if (run.length === length) return from + index + length;
  }
  return -1;
}

/**
 * @param {string} line
 * @param {Run} run
 */
function closeRun(line, { run, index }) {
  const inside = line.slice(index + run.length);
  if (!inside.trim()) return line.slice(0, index);
  // Half of the closing delimiter may be there already. A space before it would keep it from closing.
  const content = run[0] === "`" ? inside : inside.replace(run[0] === "*" ? /\*$/ : /~$/, "").trimEnd();
  return content.trim() ? line.slice(0, index + run.length) + content + run : line;
}
