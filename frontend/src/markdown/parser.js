/**
 * markdown-it with the rules of the dialect. The server has the same library and the same rules, in rendering/markdown_rules.py. Each
 * call of a rule is a step of the budget. No DOM.
 */

import MarkdownIt from "markdown-it";

import markup from "../../../streaming_chat/rendering/allowed_html.json" with { type: "json" };

import { addBlockRules } from "./block-rules.js";
import { spend } from "./budget.js";
import { scanRun } from "./delimiters.js";
import { addInlineRules } from "./inline-rules.js";

const SAFE_ADDRESS = new RegExp(`^${markup.address}`, "i");

export const parser = new MarkdownIt("commonmark", { html: false, breaks: true, maxNesting: markup.max_nesting });
export const { escapeHtml, unescapeAll } = parser.utils;

// Relative addresses would be pages of this site.
parser.validateLink = (address) => SAFE_ADDRESS.test(address);

parser.inline.State = class extends parser.inline.State {
  /**
   * @param {number} start
   * @param {boolean} canSplitWord
   */
  scanDelims(start, canSplitWord) {
    return scanRun(this.src, start, this.posMax, canSplitWord);
  }
};

/**
 * Make each call of a rule a step.
 *
 * @template {any[]} Args
 * @template Result
 * @param {{getRules: (chain: string) => ((...args: Args) => Result)[]}} ruler
 */
function count(ruler) {
  /** @type {Map<string, ((...args: Args) => Result)[]>} */
  const chains = new Map();
  const rulesOf = ruler.getRules.bind(ruler);
  ruler.getRules = (chain) => {
    const known = chains.get(chain);
    if (known) return known;
    const counted = rulesOf(chain).map((rule) => (/** @type {Args} */ ...args) => {
      spend();
      return rule(...args);
    });
    chains.set(chain, counted);
    return counted;
  };
}

parser.enable(["table", "strikethrough"]);
addBlockRules(parser);
addInlineRules(parser);
for (const ruler of [parser.block.ruler, parser.inline.ruler, parser.inline.ruler2]) count(/** @type {any} */ (ruler));
