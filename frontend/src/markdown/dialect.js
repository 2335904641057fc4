/**
 * The server's dialect of Markdown, for marked: CommonMark with tables, strikethrough and hard line breaks, in which HTML is text; and
 * what models write besides: formulas, footnotes and task lists. marked divides a text into blocks, inline.js reads their text. No DOM.
 *
 * As on the server, text that would take too long to parse is shown as it was written.
 */

import { Lexer, Tokenizer } from "marked";

import markup from "../../../streaming_chat/rendering/allowed_html.json" with { type: "json" };

import { isSafe } from "./escaping.js";
import { FORMULA_BLOCK, matchAt, NOTE, source } from "./syntax.js";

/**
 * A token as marked makes it; which properties there are depends on its type.
 *
 * @typedef {{type: string, raw: string, tokens?: any, [name: string]: any}} Token
 */
/** @typedef {Record<string, {href: string, title: string}>} Definitions */
/** @typedef {Token[] & {links: Definitions}} TokenList */

const NEVER = /(?!)/;
// The part of marked's rules that lets HTML interrupt a paragraph.
const HTML_INTERRUPTS = / \{0,3\}\(\?:<\\?\/\?\(\?:address\|.*?CDATA\\\[\)/g;

// What begins a block of ours, also right after a paragraph.
const NOTE_START = `${source("note").replace("(", "(?:")}:`;
const OUR_START = ` {0,3}(?:${source("formula_block")}|${NOTE_START})`;
// A formula in the row of a table, or what may hold the beginning of one without being one.
const ROW_PIECE = new RegExp(`(\`+)(?!\`)[^\\n]*?(?<!\`)\\1(?!\`)|\\\\\\\\|${source("formula")}`, "gu");
// Stands for "|" within a formula while the cells of a row are divided.
const HIDDEN_PIPE = "\0";

/**
 * Return the tokens of a text's blocks, with its link definitions in `tokens.links`. What is inside their lines is a list of tokens as
 * well, which has the source as `src`: `toHtml` reads it.
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
  for (const { src, tokens } of lexer.inlineQueue) Object.assign(tokens, { src });
  return /** @type {any} */ (lexer.tokens);
}

/**
 * @param {string} text
 * @param {Definitions} known
 */
function blocks(text, known) {
  const tokenizer = new Dialect();
  const extensions = /** @type {any} */ ({ block: [formulaBlock, noteBlock] });
  const lexer = new Lexer({ gfm: true, breaks: true, tokenizer, extensions });
  // The constructor of Lexer has set them.
  tokenizer.rules = RULES ??= rules(tokenizer.rules);
  Object.assign(lexer.tokens.links, known);
  lexer.blockTokens(text, lexer.tokens);
  return lexer;
}

/** @type {any} */
let RULES = null;

/**
 * Return marked's rules with our blocks in the place of HTML.
 *
 * @param {any} rules
 */
function rules({ block, inline, other }) {
  const withOurs = (/** @type {RegExp} */ rule) => new RegExp(rule.source.replace(HTML_INTERRUPTS, () => OUR_START), rule.flags);
  const begins = (/** @type {number} */ indent) => new RegExp(`^ {0,${Math.min(3, indent - 1)}}(?:\\$\\$|\\\\\\[|${NOTE_START})`);
  return {
    block: {
      ...block,
      html: NEVER,
      lheading: withOurs(block.lheading),
      paragraph: withOurs(block.paragraph),
      blockquote: withOurs(block.blockquote),
      table: withOurs(block.table),
    },
    inline,
    other: { ...other, htmlBeginRegex: begins },
  };
}

/**
 * Read a formula that has lines of its own, which may look like a list or a heading.
 *
 * @this {{lexer: Lexer}}
 * @param {string} src
 */
function formulaBlock(src) {
  const indent = /^ {0,3}(?=\$\$|\\\[)/.exec(src)?.[0].length;
  const match = indent === undefined ? null : matchAt(FORMULA_BLOCK, src, indent);
  if (!match) return undefined;
  const raw = src.slice(0, indent) + match[0];
  return { type: "formula", raw, text: raw.trim(), tokens: this.lexer.inline(raw.trim()) };
}

/**
 * Read a footnote, a paragraph that begins with "[^label]:". It stays where it was written.
 *
 * @this {{lexer: Lexer}}
 * @param {string} src
 */
function noteBlock(src) {
  const indent = /^ {0,3}(?=\[\^)/.exec(src)?.[0].length;
  const match = indent === undefined ? null : matchAt(NOTE, src, indent);
  if (!match || src[match.index + match[0].length] !== ":") return undefined;
  const raw = /** @type {any} */ (RULES).block.paragraph.exec(src)[0];
  const tag = `^${match[1]}`;
  this.lexer.tokens.links[tag] = { href: "", title: "" };
  return { type: "note", raw, tag, href: "", title: "", text: raw.trim(), tokens: this.lexer.inline(raw.trim()) };
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
    const queue = this.lexer.inlineQueue;
    const first = queue.length;
    const token = super.table(whole.split("\n").map(hidePipes).join("\n"));
    for (const item of queue.slice(first)) item.src = item.src.replaceAll(HIDDEN_PIPE, "|");
    if (token) token.raw = whole.slice(0, token.raw.length);
    return token;
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
 * Keep the formulas in a table's row together, which may hold the character that divides cells.
 *
 * @param {string} line
 */
function hidePipes(line) {
  if (!/[$\\]/.test(line)) return line;
  return line.replace(ROW_PIECE, (piece) => {
    // "$$" is also how dear something is: | $$ | $$$ |
    const isFormula = !piece.startsWith("`") && !/^\$\$(?:\s|[^]*\s\$\$$)/.test(piece);
    return isFormula ? piece.replaceAll("|", HIDDEN_PIPE) : piece;
  });
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
