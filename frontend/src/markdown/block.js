/** One block of a text as it is shown. No DOM. */

import { toHtml } from "./html.js";
import { escapeHtml } from "./parser.js";

/**
 * @import { Budget } from "./budget.js"
 * @import { Source } from "./dialect.js"
 * @import { HtmlOptions } from "./html.js"
 */

/** Code whose fence is open, which only grows. start: the HTML before its text. */
/** @typedef {{start: string, text: string}} OpenCode */

// A short one; a long one has one for each of its characters.
const ELEMENTS_OF_FORMULA = 8;
// Its frame, with the name of the language and the button.
const ELEMENTS_OF_CODE = 4;

export class Block {
  /** @type {string | null} */
  #html;

  /**
   * @param {string} raw The source.
   * @param {string | null} html Of one element, or "". Null for open code and plain text.
   * @param {{open?: OpenCode | null, isPlain?: boolean}} [options] isPlain: the source is shown as it is.
   */
  constructor(raw, html, { open = null, isPlain = false } = {}) {
    this.raw = raw;
    this.#html = html;
    this.open = open;
    this.isPlain = isPlain;
    this.elements = html ? elementsOf(html) : 0;
  }

  get html() {
    this.#html ??= this.open ? `${this.open.start}${escapeHtml(this.open.text)}</code></pre>` : "";
    return this.#html;
  }

  /**
   * Whether a block of the whole text is this one.
   *
   * @param {Source | undefined} token
   */
  isOf(token) {
    return this.raw.trimEnd() === token?.raw.trimEnd();
  }
}

/**
 * Return how many elements HTML has, with those of the frames around code, and of the formulas when they are typeset.
 *
 * @param {string} html
 */
function elementsOf(html) {
  const count = (/** @type {string} */ tag) => html.split(tag).length - 1;
  return (html.match(/<[a-z]/g)?.length ?? 0) + count('<span class="math"') * ELEMENTS_OF_FORMULA + count("<pre>") * ELEMENTS_OF_CODE;
}

/**
 * Return a token as it is shown. Throws, within an attempt, when it is over the budget.
 *
 * @param {Source} token
 * @param {HtmlOptions & {budget: Budget}} options
 */
export function makeBlock(token, { texts, links, budget }) {
  const block = new Block(token.raw, toHtml(token, { texts, links }));
  budget.add(block.elements);
  return block;
}

/** @param {string} source */
export function plainBlock(source) {
  return new Block(source, null, { isPlain: true });
}
