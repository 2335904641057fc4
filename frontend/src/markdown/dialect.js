/**
 * The server's dialect of Markdown, for marked: CommonMark with tables, strikethrough and hard line breaks, in which HTML is text. No
 * DOM.
 *
 * As on the server, text that would take too long to parse is shown as it was written.
 */

import { Lexer, Tokenizer } from "marked";

import markup from "../../../streaming_chat/rendering/allowed_html.json" with { type: "json" };

/**
 * A token as marked makes it; which properties there are depends on its type.
 *
 * @typedef {{type: string, raw: string, tokens?: any, [name: string]: any}} Token
 */
/** @typedef {Record<string, {href: string, title: string}>} Definitions */
/** @typedef {Token[] & {links: Definitions}} TokenList */

const SAFE_ADDRESS = new RegExp(`^${markup.address}`, "i");
// marked searches for the end of each delimiter, so the time grows with the square of their number.
const MAX_DELIMITERS = 2_000;
const NEVER = /(?!)/;
// The part of marked's rules that lets HTML interrupt a paragraph.
const HTML_INTERRUPTS = / \{0,3\}\(\?:<\\?\/\?\(\?:address\|.*?CDATA\\\[\)/g;

/**
 * Whether a link may lead to this address. Relative addresses may not: they would be pages of this site.
 *
 * @param {string} address
 */
export function isSafe(address) {
  return SAFE_ADDRESS.test(address);
}

/**
 * Return the tokens of a text, as marked makes them, with its link definitions in `tokens.links`.
 *
 * @param {string} text
 * @param {object} options
 * @param {Definitions} [options.known] Definitions from before this text, which take precedence.
 * @param {((text: string) => string) | null} [options.amend] Given the last piece of inline text, returns what to read instead.
 * @returns {TokenList}
 */
export function read(text, { known = {}, amend = null } = {}) {
  const lexer = blocks(text, known);
  const last = lexer.inlineQueue.at(-1);
  if (amend && last && endsInside(lexer.tokens, last.tokens)) last.src = amend(last.src);
  for (const { src, tokens } of lexer.inlineQueue) {
    if (isTooComplex(src)) tokens.push({ type: "text", raw: src, text: src.replaceAll("&", "&amp;") });
    else lexer.inlineTokens(src, tokens);
  }
  return /** @type {any} */ (lexer.tokens);
}

/**
 * Return the tokens of a text's outer blocks, without those inside their lines.
 *
 * @param {string} text
 * @returns {TokenList}
 */
export function outline(text) {
  return /** @type {any} */ (blocks(text, {}).tokens);
}

/**
 * @param {string} text
 * @param {Definitions} known
 */
function blocks(text, known) {
  const tokenizer = new Dialect();
  const lexer = new Lexer({ gfm: true, breaks: true, tokenizer });
  // The constructor of Lexer has set them.
  tokenizer.rules = RULES ??= rules(tokenizer.rules);
  Object.assign(lexer.tokens.links, known);
  lexer.blockTokens(text, lexer.tokens);
  return lexer;
}

/** @type {any} */
let RULES = null;

/**
 * Return marked's rules without HTML.
 *
 * @param {any} rules
 */
function rules({ block, inline, other }) {
  const withoutHtml = (/** @type {RegExp} */ rule) => new RegExp(rule.source.replace(HTML_INTERRUPTS, NEVER.source), rule.flags);
  return {
    block: {
      ...block,
      html: NEVER,
      lheading: withoutHtml(block.lheading),
      paragraph: withoutHtml(block.paragraph),
      blockquote: withoutHtml(block.blockquote),
      table: withoutHtml(block.table),
    },
    // One tilde strikes nothing through.
    inline: { ...inline, tag: NEVER, url: NEVER, delLDelim: new RegExp(inline.delLDelim.source.replace("~~?", "~~"), "u") },
    other: { ...other, listIsTask: NEVER, htmlBeginRegex: () => NEVER },
  };
}

class Dialect extends Tokenizer {
  #depth = 0;

  /**
   * Read a nested block, unless it is nested too deep: marked reads them by recursion.
   *
   * @template T
   * @param {() => T} readBlock
   */
  #nest(readBlock) {
    if (this.#depth >= markup.max_nesting) return undefined;
    this.#depth += 1;
    try {
      return readBlock();
    } finally {
      this.#depth -= 1;
    }
  }

  /** @param {string} src */
  blockquote(src) {
    return this.#nest(() => super.blockquote(src));
  }

  /** @param {string} src */
  list(src) {
    return this.#nest(() => super.list(src));
  }

  /**
   * Read a table, unless it has too many cells: short rows are filled up, so a few characters can become very many cells.
   *
   * @param {string} src
   */
  table(src) {
    const [whole, head] = this.rules.block.table.exec(src) ?? [];
    if (!whole || count(head, "|") * count(whole, "\n") > markup.max_cells) return undefined;
    return super.table(src);
  }

  /** @param {string} src */
  link(src) {
    return safe(super.link(src));
  }

  /** @param {string} src */
  autolink(src) {
    return safe(super.autolink(src));
  }

  /** @param {string} src */
  def(src) {
    return safe(super.def(src));
  }
}

/**
 * Return undefined for a token whose address is not safe: its source is then read as text.
 *
 * @template {{href?: string}} T
 * @param {T | undefined} token
 * @returns {T | undefined}
 */
function safe(token) {
  return token && "href" in token && !isSafe(token.href ?? "") ? undefined : token;
}

/**
 * Whether marked would take too long for a piece of inline text.
 *
 * @param {string} text
 */
function isTooComplex(text) {
  return count(text, "[") > markup.max_brackets || ["*", "_", "~", "<"].some((mark) => count(text, mark) > MAX_DELIMITERS);
}

/**
 * @param {string} text
 * @param {string} character
 */
function count(text, character) {
  return text.split(character).length - 1;
}

/**
 * Whether these inline tokens are in the last block of a text.
 *
 * @param {Token[]} tokens
 * @param {Token[]} inline
 * @returns {boolean}
 */
function endsInside(tokens, inline) {
  const last = tokens.findLast(({ type }) => type !== "space");
  if (!last) return false;
  if (last.tokens === inline) return true;
  if (last.type === "table") return (last.rows.at(-1) ?? last.header).at(-1).tokens === inline;
  return endsInside(last.items?.at(-1).tokens ?? last.tokens ?? [], inline);
}
