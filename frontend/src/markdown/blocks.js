/**
 * A growing text in Markdown as a list of blocks, of which only the last ones can still change. No DOM.
 *
 * A block is finished when the first line of a later one is complete: until then that line could still belong to it, as in
 * "1. a\n\n2", whose last line may become "2. b". At the end the whole text is read once more, so that the result does not depend on
 * how the text arrived.
 */

import { read } from "./dialect.js";
import { escape } from "./escaping.js";
import { codeStart, toHtml } from "./html.js";
import { closeInline, completeBlock } from "./incomplete.js";
import { definitions, finishedTokens, isShown, lengthOf, linksOf, pieces, WINDOW } from "./pieces.js";

/**
 * @import { MarkdownTexts } from "../types"
 * @import { Definitions, Token, TokenList } from "./dialect.js"
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
  /** Whether the work of completing the text has begun and not ended. */
  #isCompleting = false;

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
    const { first, steps } = this.begin(text, isComplete);
    while (!steps.next().done);
    return first;
  }

  /**
   * Begin to take the text as it is now. Returns the index of the first block that may change, and the steps of the work: each yields
   * how many blocks, from the first, are as they will be. The work may be left unfinished.
   *
   * @param {string} text
   * @param {boolean} isComplete Whether nothing more will follow.
   */
  begin(text, isComplete) {
    const source = text.replace(/\r\n?/g, "\n").replaceAll("\0", "\ufffd");
    if (!source.startsWith(this.#source)) this.#restart();
    if (this.#isCompleting) this.#forget();
    this.#isCompleting = isComplete;
    return { first: isComplete ? 0 : this.#finished, steps: isComplete ? this.#complete(source) : this.#grow(source) };
  }

  #restart() {
    this.list = [];
    this.#source = "";
    this.#finished = this.#tail = 0;
    this.#definitions = Object.create(null);
    this.#fence = null;
  }

  /**
   * @param {string} source
   * @returns {Generator<number>}
   */
  *#grow(source) {
    do {
      // A block that is longer than a window is read again with each, so the windows grow with it.
      const window = Math.max(WINDOW, this.#source.length - this.#tail);
      this.#source = source.slice(0, this.#source.length + window);
      if (!this.#fence || !this.#growFence(this.#fence)) this.#readTail();
      yield this.#finished;
    } while (this.#source.length < source.length);
    yield this.list.length;
  }

  #readTail() {
    const tail = this.#source.slice(this.#tail);
    const fence = FENCE.exec(tail);
    if (fence && this.#openFence(fence)) return;
    const tokens = read(completeBlock(tail), { known: this.#definitions, amend: closeInline });
    const count = finishedTokens(tokens, tail);
    this.#show(tokens);
    if (count) this.#finish(tokens, count, tail);
  }

  /**
   * @param {Token} token
   * @param {Definitions} links
   */
  #make(token, links) {
    return new Block(token.raw, toHtml(token, { texts: this.#texts, links }));
  }

  /** @param {TokenList} tokens */
  #show(tokens) {
    this.list.length = this.#finished;
    for (const token of tokens.filter(isShown)) this.list.push(this.#make(token, tokens.links));
  }

  /**
   * Freeze the blocks of the first tokens.
   *
   * @param {Token[]} tokens
   * @param {number} count
   * @param {string} tail The source that the tokens come from.
   */
  #finish(tokens, count, tail) {
    const length = lengthOf(tokens.slice(0, count), tail);
    // Where the end of a block is not known, nothing is finished.
    if (!length) return;
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

  /**
   * @param {string} source
   * @returns {Generator<number>}
   */
  *#complete(source) {
    this.#source = source;
    this.#fence = null;
    /** @type {Token[]} */
    const tokens = [];
    for (const piece of pieces(source)) {
      tokens.push(...piece);
      yield 0;
    }
    const links = linksOf(tokens);
    const hasLinks = Object.keys(links).length > 0;
    const shown = tokens.filter(isShown);
    let isAsWhole = !hasLinks;
    for (const [index, token] of shown.entries()) {
      const isFinished = index < this.#finished && this.list[index].raw.trimEnd() === token.raw.trimEnd();
      if (!isFinished && index < this.#finished) isAsWhole = false;
      if (isFinished && !(hasLinks && token.raw.includes("["))) continue;
      this.list[index] = this.#make(token, links);
      yield index + 1;
    }
    this.list.length = shown.length;
    this.#isCompleting = false;
    // If the text continues after all, it is read from the beginning.
    if (!isAsWhole) this.#forget();
    yield shown.length;
  }

  #forget() {
    this.#finished = this.#tail = 0;
    this.#definitions = Object.create(null);
  }
}
