/**
 * A growing text in Markdown as a list of blocks, of which only the last ones can still change. No DOM.
 *
 * A block is finished when the first line of a later one is complete: until then that line could still belong to it, as in
 * "1. a\n\n2", whose last line may become "2. b". At the end the whole text is read once more, so that the result does not depend on
 * how the text arrived.
 */

import { makeBlock, plainBlock } from "./block.js";
import { Budget } from "./budget.js";
import { define, noDefinitions, read } from "./dialect.js";
import { closeInline, completeBlock } from "./incomplete.js";
import { OpenFence } from "./open-fence.js";
import { finishedTokens, isShown } from "./pieces.js";
import { readWhole } from "./whole-text.js";

/**
 * @import { MarkdownTexts } from "../types"
 * @import { Block } from "./block.js"
 * @import { Source } from "./dialect.js"
 */

// Reading so many characters takes a few milliseconds.
const WINDOW = 8_192;

export class Blocks {
  /** @type {Block[]} The blocks of the text so far. */
  list = [];
  #texts;
  #source = "";
  #finished = 0;
  // Where in the source the first unfinished block begins.
  #tail = 0;
  #definitions = noDefinitions();
  /** @type {OpenFence | null} */
  #fence = null;
  /** Whether the work of completing the text has begun and not ended. */
  #isCompleting = false;
  /** Where the plain text begins in the source, -1 for nowhere. What was shown as plain text is not read again while it grows. */
  #plain = -1;
  #isOnRequest = false;
  #now;

  /**
   * @param {MarkdownTexts} texts
   * @param {() => number} [now] The clock, in milliseconds.
   */
  constructor(texts, now = () => performance.now()) {
    this.#texts = texts;
    this.#now = now;
  }

  /** The user has asked for a text that was shown as plain text: it may cost much more, and is read from the beginning. */
  allowMore() {
    this.#isOnRequest = true;
    this.#restart();
  }

  /** Whether the user has asked for it. */
  get isOnRequest() {
    return this.#isOnRequest;
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
    this.#definitions = noDefinitions();
    this.#fence = null;
    this.#plain = -1;
  }

  #budget() {
    return new Budget(this.#source.length, { isOnRequest: this.#isOnRequest, now: this.#now });
  }

  /**
   * @param {string} source
   * @returns {Generator<number>}
   */
  *#grow(source) {
    if (this.#plain >= 0) {
      this.#source = source;
      this.#showPlain(this.#plain);
      yield this.list.length;
      return;
    }
    do {
      // A block that is longer than a window is read again with each, so the windows grow with it.
      const window = Math.max(WINDOW, this.#source.length - this.#tail);
      this.#source = source.slice(0, this.#source.length + window);
      if (!this.#growFence()) this.#readTail();
      yield this.#finished;
    } while (this.#source.length < source.length);
    yield this.list.length;
  }

  #readTail() {
    const tail = this.#source.slice(this.#tail);
    if (this.#openFence()) return;
    this.list.length = this.#finished;
    const budget = this.#budget();
    for (const { elements } of this.list) budget.elements += elements;
    const links = define([{ defined: this.#definitions }]);
    /** @type {Source[]} */
    const tokens = [];
    const isDone = budget.attempt(() => {
      for (const token of read(completeBlock(tail), closeInline)) {
        tokens.push(token);
        define([token], links);
      }
      for (const token of tokens.filter(isShown)) this.list.push(makeBlock(token, { texts: this.#texts, links, budget }));
      return true;
    });
    if (isDone) this.#finish(tokens, tail);
    else this.#stopAt(this.#tail + this.#endOfShown(tokens));
  }

  /**
   * Return where the first block begins that is not shown yet.
   *
   * @param {Source[]} tokens
   */
  #endOfShown(tokens) {
    const made = this.list.length - this.#finished;
    return tokens.filter(isShown)[made]?.start ?? tokens.at(-1)?.end ?? 0;
  }

  /**
   * Show the source from a position on as plain text. What is shown before it stays.
   *
   * @param {number} position
   */
  #stopAt(position) {
    this.#plain = position;
    this.#finished = this.list.length;
    this.#showPlain(position);
  }

  /** @param {number} position */
  #showPlain(position) {
    this.list[this.#finished] = plainBlock(this.#source.slice(position));
    this.list.length = this.#finished + 1;
  }

  /**
   * Freeze the blocks that cannot change any more.
   *
   * @param {Source[]} tokens
   * @param {string} tail The source that the tokens come from.
   */
  #finish(tokens, tail) {
    const finished = tokens.slice(0, finishedTokens(tokens, tail));
    const last = finished.at(-1);
    if (!last) return;
    this.#finished += finished.filter(isShown).length;
    this.#tail += tokens[finished.length]?.start ?? last.end;
    define(finished, this.#definitions);
    if (finished.length === tokens.length) return;
    this.#openFence();
  }

  /** Whether the first unfinished block is code whose fence is open. */
  #openFence() {
    this.#fence = OpenFence.at(this.#source, this.#tail);
    return this.#growFence();
  }

  /** Take more of the code whose fence is open; return whether there is such code. */
  #growFence() {
    if (this.#fence?.isClosed(this.#source)) this.#fence = null;
    if (!this.#fence) return false;
    this.list.length = this.#finished;
    this.list.push(this.#fence.block(this.#source));
    return true;
  }

  /**
   * @param {string} source
   * @returns {Generator<number>}
   */
  *#complete(source) {
    this.#source = source;
    this.#fence = null;
    const old = this.list.slice(0, this.#finished);
    const isAsBefore = yield* readWhole(source, this.list, { old, texts: this.#texts, budget: this.#budget() });
    this.#isCompleting = false;
    // If the text continues after all, it is read from the beginning.
    if (!isAsBefore) this.#forget();
    yield this.list.length;
  }

  #forget() {
    this.#finished = this.#tail = 0;
    this.#plain = -1;
    this.#definitions = noDefinitions();
  }
}
