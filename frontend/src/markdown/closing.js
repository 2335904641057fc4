/**
 * Markdown whose end has not arrived yet, as it will most likely go on: what is half there would flicker. No DOM.
 *
 * Only a text's end is looked at, and only while it grows.
 */

// A line that so far is only a mark: of a list, a heading, a rule, a fence or the heading above it.
const BARE_MARK = /(?:^|\n)[ >]*(?:[-=+*_#|:`~> ]+|\d{1,9}[.)]?)$/;
const LINK = /(!?)\[([^[\]\n]*)\]\([^()\s]*$/;
const RUNS = /\\.|`+|\*\*|~~/gs;

/** Return a text without a last line that is only a mark as yet. */
export function withoutBareMark(text) {
  const end = text.lastIndexOf("\n") + 1;
  return BARE_MARK.test(text.slice(end)) ? text.slice(0, end) : text;
}

/** Return inline text with its open code, link, bold and strikethrough closed. */
export function close(text) {
  const start = text.lastIndexOf("\n") + 1;
  let line = text.slice(start);
  const open = openRuns(line);
  const code = open.find(({ run }) => run[0] === "`");
  if (code) {
    open.length = open.indexOf(code) + 1;
  } else {
    line = line.replace(LINK, "$2");
  }
  for (const { run, index } of open.toReversed()) line = closeRun(line, run, index);
  return text.slice(0, start) + line;
}

/** Return the runs of a line's delimiters that nothing has closed yet, in their order. */
function openRuns(line) {
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

function codeEnd(line, length, from) {
  for (const { 0: run, index } of line.slice(from).matchAll(/`+/g)) {
    if (run.length === length) return from + index + length;
  }
  return -1;
}

function closeRun(line, run, index) {
  const inside = line.slice(index + run.length);
  if (!inside.trim()) return line.slice(0, index);
  // Half of the closing run may be there already; before it, a space would keep it from closing.
  const half = run[0] === "`" ? inside : inside.replace(run[0] === "*" ? /\*$/ : /~$/, "").trimEnd();
  return half.trim() ? line.slice(0, index + run.length) + half + run : line;
}
