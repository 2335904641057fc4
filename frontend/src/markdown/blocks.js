/**
 * A growing text in Markdown as a list of blocks, of which only the last ones can still change. No DOM.
 *
 * A block is finished when the first line of a later one is complete: until then that line could still belong to it, as in
 * "1. a\n\n2", whose last line may become "2. b". At the end the whole text is read once more, so that the result does not depend on
 * how the text arrived.
 */

import { outline, read } from "./dialect.js";
import { escape } from "./escaping.js";
import { codeStart, toHtml } from "./html.js";
import { closeInline, withoutBareMarker } from "./incomplete.js";

/**
 * @import { MarkdownTexts } from "../types"
 * @import { Definitions, Token } from "./dialect.js"
 */

const FENCE = /^(`{3,}|~{3,})([^\n]*)\n/;

/** Code whose fence is open, which only grows. start: the HTML before its text. */
/** @typedef {{start: string, text: string}} OpenCode */

/** Where an open fence is in the source. from: where its code begins, seen: what has been searched for the closing fence. */
/** @typedef {{start: string, from: number, seen: number, closing: RegExp, mark: string}} Fence */

class Block {
  /** @type {string | null} */
  #html;

  /**
   * @param {string} raw The source.
   * @param {string | null} html Of one element, or "". Null for open code.
   * @param {OpenCode | null} open
   */
  constructor(raw, html, open = null) {
    this.raw = raw;
    this.#html = html;
    this.open = open;
  }

  get html() {
    this.#html ??= this.open ? `${this.open.start}${escape(this.open.text)}</code></pre>` : "";
    return this.#html;
  }
}

export class Blocks {
  /** @type {Block[]} The blocks of the text so far. */
  list = [];
  #texts;
  #source = "";
  #finished = 0;
  // Where in the source the first unfinished block begins.
  #tail = 0;
  /** @type {Definitions} */
  #definitions = Object.create(null);
  /** @type {Fence | null} */
  #fence = null;

  /** @param {MarkdownTexts} texts */
  constructor(texts) {
    this.#texts = texts;
  }

  /** How many blocks, from the first, cannot change any more. */
  get finished() {
    return this.#finished;
  }

  /**
   * Take the text as it is now; return the index of the first block that may have changed.
   *
   * @param {string} text
   * @param {boolean} isComplete Whether nothing more will follow.
   */
  update(text, isComplete) {
    const source = text.replace(/\r\n?/g, "\n").replaceAll("\0", "\ufffd");
    if (!source.startsWith(this.#source)) this.#restart();
    this.#source = source;
    const first = this.#finished;
    if (isComplete) return this.#complete();
    if (this.#fence && this.#growFence(this.#fence)) return first;
    this.#readTail();
    return first;
  }

  #restart() {
    this.list = [];
    this.#finished = this.#tail = 0;
    this.#definitions = Object.create(null);
    this.#fence = null;
  }

  #readTail() {
    const tail = this.#source.slice(this.#tail);
    const fence = FENCE.exec(tail);
    if (fence && this.#openFence(fence)) return;
    const tokens = read(withoutBareMarker(tail), { image: this.#texts.image, known: this.#definitions, amend: closeInline });
    const count = finishedTokens(tokens, tail);
    this.#show(tokens);
    if (count) this.#finish(tokens, count, tail);
  }

  /** @param {Token[]} tokens */
  #show(tokens) {
    this.list.length = this.#finished;
    for (const token of tokens.filter(isShown)) this.list.push(new Block(token.raw, toHtml(token, this.#texts)));
  }

  /**
   * Freeze the blocks of the first tokens.
   *
   * @param {Token[]} tokens
   * @param {number} count
   * @param {string} tail The source that the tokens come from.
   */
  #finish(tokens, count, tail) {
    let length = 0;
    for (const token of tokens.slice(0, count)) {
      // marked may change a token's source; then its end is not known, and nothing is frozen.
      if (!tail.startsWith(token.raw, length)) return;
      length += token.raw.length;
    }
    this.#finished += tokens.slice(0, count).filter(isShown).length;
    this.#tail += length;
    for (const { tag, href, title } of definitions(tokens.slice(0, count))) this.#definitions[tag] ??= { href, title };
    if (count === tokens.length) return;
    const fence = FENCE.exec(this.#source.slice(this.#tail));
    if (fence) this.#openFence(fence);
  }

  /** @param {RegExpExecArray} match */
  #openFence([head, run, language]) {
    const closing = new RegExp(`^ {0,3}${run}${run[0]}* *$`, "m");
    const from = this.#tail + head.length;
    this.#fence = { start: codeStart(language), from, seen: from, closing, mark: run[0] };
    if ((run[0] === "`" && language.includes("`")) || !this.#growFence(this.#fence)) this.#fence = null;
    return this.#fence !== null;
  }

  /**
   * Take more of the code whose fence is open; return whether it is still open.
   *
   * @param {Fence} fence
   */
  #growFence(fence) {
    const { start, from, seen, closing, mark } = fence;
    if (closing.test(this.#source.slice(seen))) {
      this.#fence = null;
      return false;
    }
    const line = this.#source.lastIndexOf("\n") + 1;
    fence.seen = Math.max(from, line);
    // The last line may be the beginning of the closing fence.
    const end = this.#source.slice(line).trim().replaceAll(mark, "") ? this.#source.length : fence.seen;
    this.list.length = this.#finished;
    this.list.push(new Block("", null, { start, text: this.#source.slice(from, end) }));
    return true;
  }

  #complete() {
    this.#fence = null;
    const first = this.#isAsWhole() ? this.#finished : 0;
    const source = this.#source.slice(first ? this.#tail : 0);
    // If the text continues after all, it is read from the beginning.
    if (!first) this.#restart();
    this.#show(read(source, { image: this.#texts.image, known: first ? this.#definitions : {} }));
    return first;
  }

  /** Whether the finished blocks are those of the whole text. */
  #isAsWhole() {
    const tokens = outline(this.#source);
    if (Object.keys(tokens.links).length) return false;
    const shown = tokens.filter(isShown);
    return this.list.slice(0, this.#finished).every(({ raw }, index) => raw.trimEnd() === shown[index]?.raw.trimEnd());
  }
}

/** @param {Token} token */
function isShown({ type }) {
  return type !== "space" && type !== "def";
}

/**
 * Return how many of a tail's tokens cannot change any more.
 *
 * @param {Token[]} tokens
 * @param {string} tail
 */
function finishedTokens(tokens, tail) {
  const last = tokens.findLastIndex(({ type }) => type !== "space");
  if (last < 0) return 0;
  const from = tokens.slice(0, last).reduce((length, { raw }) => length + raw.length, 0);
  const lines = tail.slice(from).split("\n").length - 1;
  if (isClosedFence(tokens[last]) && tail[from + tokens[last].raw.trimEnd().length] === "\n") return last + 1;
  // A table is not one before its second line.
  if (lines > (tokens[last].type === "table" ? 1 : 0)) return last;
  return Math.max(0, tokens.slice(0, last).findLastIndex(({ type }) => type !== "space"));
}

/** @param {Token} token */
function isClosedFence({ type, raw, codeBlockStyle }) {
  if (type !== "code" || codeBlockStyle) return false;
  const [, run] = /^ {0,3}(`{3,}|~{3,})/.exec(raw) ?? [];
  return Boolean(run) && new RegExp(`\n {0,3}${run}${run[0]}* *\n?$`).test(raw);
}

/**
 * Return the definitions of links in tokens, also those in quotes and lists.
 *
 * @param {Token[]} tokens
 * @returns {Token[]}
 */
function definitions(tokens) {
  return tokens.flatMap((token) => {
    if (token.type === "def" || token.type === "note") return [token];
    return definitions(token.items ?? (token.type === "blockquote" || token.type === "list_item" ? token.tokens : []) ?? []);
  });
}
