/**
 * Completes Markdown whose end has not arrived yet as it will most likely continue: markup that is half there would flicker. No DOM.
 *
 * Only the end of a text is looked at, and only while the text grows.
 */

// A line that so far is only a marker: of a list, a heading, a rule, a fence, or the underline of a heading.
const BARE_MARKER = /(?:^|\n)[ >]*(?:[-=+*_#|:`~> ]+|\d{1,9}[.)]?)$/;
const LINK = /(!?)\[([^[\]\n]*)\]\([^()\s]*$/;
const RUNS = /\\.|`+|\*\*|~~/gs;

/** @typedef {{run: string, index: number}} Run A delimiter such as "**", and where it is in its line. */

/**
 * Return a text without a last line that is only a marker so far.
 *
 * @param {string} text
 */
export function withoutBareMarker(text) {
  const end = text.lastIndexOf("\n") + 1;
  return BARE_MARKER.test(text.slice(end)) ? text.slice(0, end) : text;
}

/**
 * Return inline text with its open code, link, bold and strikethrough closed.
 *
 * @param {string} text
 */
export function closeInline(text) {
  const start = text.lastIndexOf("\n") + 1;
  let line = text.slice(start);
  const open = openRuns(line);
  const code = open.find(({ run }) => run[0] === "`");
  if (code) open.length = open.indexOf(code) + 1;
  else line = line.replace(LINK, "$2");
  for (const run of open.toReversed()) line = closeRun(line, run);
  return text.slice(0, start) + line;
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
