/**
 * The Markdown that the server shows, for marked: CommonMark with tables and strikethrough, lines that stay lines, and
 * HTML that stays text. No DOM.
 *
 * Work is bounded by shape, as it is on the server: what is built to be slow is shown as it was written.
 */

import { Lexer, Tokenizer } from "marked";

import markup from "../../../streaming_chat/rendering/markup.json" with { type: "json" };

const SAFE_ADDRESS = new RegExp(`^${markup.address}`, "i");
// marked looks for the end of each over and over: 10,000 in one paragraph took 650 ms, 2,000 take 30 (marked 18.2).
const MAX_MARKS = 2_000;
const NEVER = /(?!)/;
// How marked says which HTML interrupts a paragraph; none does here.
const HTML_INTERRUPTS = / \{0,3\}\(\?:<\\?\/\?\(\?:address\|.*?CDATA\\\[\)/g;

/** Whether a link may lead there: relative addresses would be pages of this site. */
export function isSafe(address) {
  return SAFE_ADDRESS.test(address);
}

/**
 * Return the tokens of a text, as marked makes them, with its definitions of links in `tokens.links`.
 *
 * known: definitions from before this text, which come first.
 * amend: given the last piece of inline text, returns what is to be read in its place.
 */
export function read(text, { known = {}, amend = null } = {}) {
  const lexer = blocks(text, known);
  const last = lexer.inlineQueue.at(-1);
  if (amend && last && endsInside(lexer.tokens, last.tokens)) last.src = amend(last.src);
  for (const { src, tokens } of lexer.inlineQueue) {
    if (isWild(src)) tokens.push({ type: "text", text: src.replaceAll("&", "&amp;") });
    else lexer.inlineTokens(src, tokens);
  }
  return lexer.tokens;
}

/** Return the tokens of a text's outer blocks, without what is inside their lines. */
export function outline(text) {
  return blocks(text, {}).tokens;
}

function blocks(text, known) {
  const lexer = new Lexer({ gfm: true, breaks: true, tokenizer: new Dialect() });
  lexer.tokenizer.rules = RULES ??= rules(lexer.tokenizer.rules);
  Object.assign(lexer.tokens.links, known);
  lexer.blockTokens(text, lexer.tokens);
  return lexer;
}

let RULES = null;

function rules({ block, inline, other }) {
  const withoutHtml = (rule) => new RegExp(rule.source.replace(HTML_INTERRUPTS, NEVER.source), rule.flags);
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

  /** Nested blocks are read by recursion, which a pile of markers would drive too deep. */
  #nest(read) {
    if (this.#depth >= markup.max_nesting) return undefined;
    this.#depth += 1;
    try {
      return read();
    } finally {
      this.#depth -= 1;
    }
  }

  blockquote(src) {
    return this.#nest(() => super.blockquote(src));
  }

  list(src) {
    return this.#nest(() => super.list(src));
  }

  /** A short row is filled up to the table's width, so a few characters could become a great many cells. */
  table(src) {
    const [whole, head] = this.rules.block.table.exec(src) ?? [];
    if (!whole || count(head, "|") * count(whole, "\n") > markup.max_cells) return undefined;
    return super.table(src);
  }

  link(src) {
    return safe(super.link(src));
  }

  autolink(src) {
    return safe(super.autolink(src));
  }

  def(src) {
    return safe(super.def(src));
  }
}

/** Nothing, where the address of a token is not safe: its source is then read as text. */
function safe(token) {
  return token && "href" in token && !isSafe(token.href) ? undefined : token;
}

function isWild(text) {
  return count(text, "[") > markup.max_brackets || ["*", "_", "~", "<"].some((mark) => count(text, mark) > MAX_MARKS);
}

function count(text, character) {
  return text.split(character).length - 1;
}

/** Whether a text's last block is the one that holds these inline tokens. */
function endsInside(tokens, inline) {
  const last = tokens.findLast(({ type }) => type !== "space");
  if (!last) return false;
  if (last.tokens === inline) return true;
  if (last.type === "table") return (last.rows.at(-1) ?? last.header).at(-1).tokens === inline;
  return endsInside(last.items?.at(-1).tokens ?? last.tokens ?? [], inline);
}
