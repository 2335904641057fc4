/** Blocks of lines that hold no other blocks: code, rules and headings. No DOM. */

import { spend } from "./budget.js";

/**
 * @import { Rule, Start } from "./block-rules.js"
 * @import { BlockState } from "./block-state.js"
 */

const FENCE = /^(`{3,})([^`]*)$|^(~{3,})(.*)$/s;
const RULE_MARK = /^[-_*][-_* \t]*$/;

/** @type {Start} */
export function startsFence(state, line) {
  return !state.isCode(line) && openingFence(state, line) !== null;
}

/**
 * @param {BlockState} state
 * @param {number} line
 */
function openingFence(state, line) {
  const content = state.content(line);
  if (!content.startsWith("```") && !content.startsWith("~~~")) return null;
  const match = FENCE.exec(content);
  return match && { run: match[1] ?? match[3], language: match[2] ?? match[4] };
}

/** @type {Rule} */
export function fence(state, line, limit) {
  const opening = state.isCode(line) ? null : openingFence(state, line);
  if (!opening) return null;
  let end = line + 1;
  while (end < limit && !endsFence(state, end)) {
    if (closesFence(state, end, opening.run)) break;
    end += 1;
    spend();
  }
  const isClosed = end < limit && !endsFence(state, end);
  const text = state.slice(line + 1, end, state.lines[line].indent);
  return { type: "code", from: line, to: end + Number(isClosed), language: opening.language, text: end > line + 1 ? `${text}\n` : "", isClosed };
}

/**
 * Whether a list's item ends here, and the fence in it.
 *
 * @param {BlockState} state
 * @param {number} line
 */
function endsFence(state, line) {
  return !state.isBlank(line) && state.lines[line].indent < state.indent;
}

/**
 * @param {BlockState} state
 * @param {number} line
 * @param {string} run
 */
function closesFence(state, line, run) {
  const content = state.content(line);
  if (content[0] !== run[0] || state.isCode(line)) return false;
  const text = content.trimEnd();
  return text.length >= run.length && text === run[0].repeat(text.length);
}

/** @type {Rule} */
export function code(state, line, limit) {
  if (!state.isCode(line)) return null;
  let end = line + 1;
  for (let next = end; next < limit && (state.isBlank(next) || state.isCode(next)); next += 1) {
    if (!state.isBlank(next)) end = next + 1;
    spend();
  }
  return { type: "code", from: line, to: end, language: "", text: `${state.slice(line, end, state.indent + 4)}\n`, isClosed: false };
}

/** @type {Start} */
export function startsRule(state, line) {
  if (state.isCode(line)) return false;
  const content = state.content(line);
  if (!RULE_MARK.test(content)) return false;
  const marks = content.replace(/[ \t]/g, "");
  return marks.length >= 3 && marks === marks[0].repeat(marks.length);
}

/** @type {Rule} */
export function rule(state, line) {
  return startsRule(state, line, false) ? { type: "hr", from: line, to: line + 1 } : null;
}

/** @type {Start} */
export function startsHeading(state, line) {
  return !state.isCode(line) && /^#{1,6}(?:[ \t]|$)/.test(state.content(line));
}

/** @type {Rule} */
export function heading(state, line) {
  if (!startsHeading(state, line, false)) return null;
  const content = state.content(line);
  const depth = /** @type {RegExpExecArray} */ (/^#+/.exec(content))[0].length;
  return { type: "heading", from: line, to: line + 1, depth, inline: state.inline(withoutClosing(content.slice(depth))) };
}

/**
 * Return a heading's text without the marks at its end.
 *
 * @param {string} text
 */
function withoutClosing(text) {
  const trimmed = text.trimEnd();
  let end = trimmed.length;
  while (trimmed[end - 1] === "#") end -= 1;
  return (/[ \t]/.test(trimmed[end - 1] ?? "") ? trimmed.slice(0, end) : trimmed).trim();
}
