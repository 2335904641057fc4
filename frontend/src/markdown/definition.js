/** The definition of a link: [label]: address "title". No DOM. */

import { spend } from "./budget.js";
import { encode, isSafe, unescape } from "./escaping.js";
import { normalLabel, readDestination } from "./links.js";

/**
 * @import { Rule } from "./block-rules.js"
 * @import { BlockState } from "./block-state.js"
 */

const SPACE = /[ \t]*(?:\n[ \t]*)?/y;
const REST = /[ \t]*(?:\n|$)/y;
// Each line that begins like a definition could begin a title or a label that ends at the end of the text.
const MAX_LABEL = 1_000;
const MAX_TITLE = 2_000;
/** @type {Record<string, string>} */
const TITLE_ENDS = { '"': '"', "'": "'", "(": ")" };

/** @type {Rule} */
export function readDefinition(state, line) {
  if (state.isCode(line) || state.text[state.lines[line].first] !== "[") return null;
  const text = new Lines(state, line);
  const labelEnd = findLabelEnd(text);
  const tag = labelEnd > 0 && text.at(labelEnd + 1) === ":" ? normalLabel(text.value.slice(1, labelEnd)) : "";
  if (!tag) return null;
  const start = text.skipSpace(labelEnd + 2);
  const found = readDestination(text.value, start, text.value.length);
  const href = found ? unescape(found.address) : "";
  if (!found || !isSafe(encode(href))) return null;
  const { title, end } = readTitle(text, found.end) ?? { title: "", end: found.end };
  const rest = text.restOfLine(end);
  if (rest < 0) return null;
  const lines = text.value.slice(0, rest).split("\n").length;
  return { type: "def", from: line, to: line + lines, tag, href, title };
}

/** The lines from one on, as long as they may belong to a paragraph; each is read when it is needed. */
class Lines {
  #state;
  #next;

  /**
   * @param {BlockState} state
   * @param {number} line
   */
  constructor(state, line) {
    this.#state = state;
    this.#next = line + 1;
    this.value = state.content(line);
  }

  /**
   * Return a character, "" if there is none.
   *
   * @param {number} position
   */
  at(position) {
    if (position >= this.value.length) this.grow();
    return this.value[position] ?? "";
  }

  /** Add the next line; return whether there is one. */
  grow() {
    const state = this.#state;
    const line = this.#next;
    if (line >= state.limit || state.isBlank(line)) return false;
    const isContinuation = state.isCode(line) || state.lines[line].indent < 0;
    if (!isContinuation && state.isInterrupted(line, "text")) return false;
    this.value += `\n${state.content(line)}`;
    this.#next += 1;
    spend();
    return true;
  }

  /**
   * @param {number} position
   * @returns {number}
   */
  skipSpace(position) {
    SPACE.lastIndex = position;
    SPACE.exec(this.value);
    if (SPACE.lastIndex < this.value.length || !this.grow()) return SPACE.lastIndex;
    return this.skipSpace(position);
  }

  /**
   * Return where a line ends in which only spaces follow, -1 for another.
   *
   * @param {number} position
   */
  restOfLine(position) {
    REST.lastIndex = position;
    const match = REST.exec(this.value);
    return match ? position + match[0].replace("\n", "").length : -1;
  }
}

/** @param {Lines} text */
function findLabelEnd(text) {
  for (let position = 1; ; position += 1) {
    const character = text.at(position);
    if (character === "" || character === "[" || position > MAX_LABEL) return -1;
    if (character === "]") return position;
    if (character === "\\") position += 1;
    spend();
  }
}

/**
 * Return the title behind an address, null for none.
 *
 * @param {Lines} text
 * @param {number} position
 */
function readTitle(text, position) {
  const start = text.skipSpace(position);
  const closing = TITLE_ENDS[text.at(start)];
  if (start === position || !closing) return null;
  for (let end = start + 1; ; end += 1) {
    const character = text.at(end);
    if (character === "" || (character === "(" && closing === ")") || end - start > MAX_TITLE) return null;
    if (character === "\\") end += 1;
    else if (character === closing) return text.restOfLine(end + 1) < 0 ? null : { title: text.value.slice(start + 1, end), end: end + 1 };
    spend();
  }
}
