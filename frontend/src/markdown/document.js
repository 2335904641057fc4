/** Shows a text in Markdown as it arrives: finished blocks stay as they are, only the last ones are drawn again. */

import { BATCH_BLOCKS, nextBatch } from "./batches.js";
import { plainBlock } from "./block.js";
import { Blocks } from "./blocks.js";
import { copyCode, frameCode, growCode, highlightBlocks } from "./code-block.js";
import { direct, withoutDirection } from "./direction.js";
import { Formulas } from "./formulas.js";
import { growPlain, makePlain } from "./plain.js";
import { followNote, nameNotes } from "./notes.js";
import { portableHtml } from "./portable-html.js";
import { patch } from "./patch.js";
import { measureRendering } from "./rendering-time.js";
import { clean } from "./sanitizer.js";
import { Slices } from "./slices.js";
import { frameTable, growTable } from "./table.js";

/** @import { MarkdownTexts } from "../types" */

// After drawing, it pauses for eight times as long: however long the text is, it takes a ninth of the main thread.
const PAUSE_FACTOR = 8;

// So many characters are shown at once, also for the first time, if the page has time.
const SHORT = 8_192;

// Tells the footnotes of the texts of a page apart.
let documents = 0;

/** @typedef {{block: Blocks["list"][number], node: ChildNode, isHighlighted: boolean}} ShownBlock */

export class MarkdownDocument {
  #element;
  #texts;
  #highlighter;
  #blocks;
  /** @type {ShownBlock[]} */
  #shown = [];
  // So many blocks, from the first, are shown as they are now.
  #current = 0;
  #slices = new Slices();
  #formulas;
  #text = "";
  #isComplete = false;
  #notePrefix = `fn-${(documents += 1)}-`;
  #pauseUntil = 0;
  /** @type {number | undefined} */
  #timer;

  /**
   * @param {HTMLElement} element Its content is replaced.
   * @param {object} options
   * @param {MarkdownTexts} options.texts copy, copied, code, table, image, done, not_done, format, not_formatted.
   * @param {string} [options.highlighter] The address of the highlighter's module, "" for none.
   * @param {string} [options.typesetter] The address of the module that typesets formulas, "" for none.
   */
  constructor(element, { texts, highlighter = "", typesetter = "" }) {
    this.#element = element;
    this.#texts = texts;
    this.#highlighter = highlighter;
    this.#formulas = new Formulas(element, typesetter);
    this.#blocks = new Blocks(texts);
    element.classList.add("sc-markdown");
    element.replaceChildren();
    element.addEventListener("click", ({ target }) => {
      const button = /** @type {Element} */ (target).closest(".sc-copy");
      if (button) copyCode(button, texts);
      if (/** @type {Element} */ (target).closest(".sc-format:not([aria-disabled])")) this.#format();
    });
    element.addEventListener("click", (event) => followNote(event, element));
  }

  /**
   * Show a text: cheap if it only grew since the last call. Call it once per frame at most.
   *
   * @param {string} text
   * @param {{isComplete?: boolean}} options isComplete: nothing more will follow. Until then a long last block is drawn less often
   *   than `draw` is called; what was left out follows by itself.
   */
  draw(text, { isComplete = false } = {}) {
    this.#text = text;
    clearTimeout(this.#timer);
    const pause = this.#pauseUntil - performance.now();
    if (pause > 0 && !isComplete) this.#timer = setTimeout(() => this.#drawNow(false), pause);
    else this.#drawNow(isComplete);
  }

  /** The text as HTML for other programs: without frames and buttons, and with formulas as they were written. */
  get html() {
    this.#slices.finish();
    return portableHtml(this.#element);
  }

  /** The user wants text to be formatted that was shown as plain text. */
  #format() {
    this.#blocks.allowMore();
    // The button is about to go.
    this.#element.tabIndex = -1;
    this.#element.focus({ preventScroll: true });
    clearTimeout(this.#timer);
    this.#drawNow(this.#isComplete);
  }

  /** @param {boolean} isComplete */
  #drawNow(isComplete) {
    this.#isComplete = isComplete;
    const began = performance.now();
    const { first, steps } = this.#blocks.begin(this.#text, isComplete);
    this.#current = Math.min(this.#current, first);
    this.#slices.run(this.#follow(steps, isComplete), this.#text.length <= SHORT);
    const now = performance.now();
    this.#pauseUntil = now + PAUSE_FACTOR * (now - began);
    if (this.#text.length > SHORT && !isComplete) measureRendering((milliseconds) => this.#pause(PAUSE_FACTOR * milliseconds));
  }

  /** @param {number} milliseconds */
  #pause(milliseconds) {
    this.#pauseUntil = Math.max(this.#pauseUntil, performance.now() + milliseconds);
  }

  /**
   * Show the blocks of a text while it is read.
   *
   * @param {Generator<number>} steps
   * @param {boolean} isComplete
   */
  *#follow(steps, isComplete) {
    const { list } = this.#blocks;
    let ready = this.#current;
    for (ready of steps) {
      yield;
      if (ready - this.#current >= BATCH_BLOCKS) yield* this.#showUntil(ready);
    }
    yield* this.#showUntil(ready);
    for (const { node } of this.#shown.splice(list.length)) node.remove();
    if (this.#highlighter) highlightBlocks(this.#shown.slice(0, isComplete ? list.length : this.#blocks.finished), this.#highlighter);
  }

  /**
   * Show the blocks up to one.
   *
   * @param {number} ready
   */
  *#showUntil(ready) {
    while (this.#current < ready) {
      const batch = this.#current < this.#shown.length ? [] : nextBatch(this.#blocks.list.slice(this.#current, ready));
      const next = this.#current + Math.max(1, batch.length);
      if (this.#blocks.list[this.#current].isPlain) yield* this.#showPlain(this.#current);
      else if (batch.length > 1) this.#append(batch);
      else this.#show(this.#current);
      const elements = this.#blocks.list.slice(this.#current, next).reduce((sum, block) => sum + block.elements, 0);
      this.#current = next;
      yield elements;
    }
  }

  /** @param {ShownBlock["block"][]} batch */
  #append(batch) {
    const nodes = [...this.#framed(batch.map(({ html }) => html).join("")).children];
    for (const [index, block] of batch.entries()) {
      const node = nodes.length === batch.length ? direct(nodes[index]) : this.#make(block);
      this.#shown.push({ block, node, isHighlighted: false });
    }
    this.#element.append(...this.#shown.slice(-batch.length).map(({ node }) => node));
  }

  /** @param {number} index Of the block to show. */
  #show(index) {
    const block = this.#blocks.list[index];
    const shown = this.#shown[index];
    if (shown?.block === block) return;
    if (shown) {
      this.#update(shown, block);
      shown.block = block;
      return;
    }
    const node = this.#make(block);
    this.#element.append(node);
    this.#shown.push({ block, node, isHighlighted: false });
  }

  /**
   * @param {ShownBlock} shown
   * @param {ShownBlock["block"]} block What is to be shown instead.
   */
  #update(shown, block) {
    const { block: before, node } = shown;
    if (before.isPlain) {
      shown.node = this.#make(block);
      node.replaceWith(shown.node);
      shown.isHighlighted = false;
    } else if (block.open && before.open?.start === block.open.start) {
      growCode(/** @type {Element} */ (node), block.open.text);
    } else if (block.html !== before.html) {
      withoutDirection(node, () => {
        if (!growTable(node, before.html, block.html, (html) => this.#clean(html))) shown.node = patch(node, this.#make(block, false));
      });
      direct(shown.node);
      shown.isHighlighted = false;
    }
  }

  /**
   * Show a block of plain text, some of it at a time.
   *
   * @param {number} index
   */
  *#showPlain(index) {
    const { raw } = this.#blocks.list[index];
    const isFinal = this.#blocks.isOnRequest;
    const old = this.#shown[index];
    const before = old?.block.isPlain && raw.startsWith(old.block.raw) && !isFinal ? old : null;
    const shown = before ?? { block: plainBlock(""), node: makePlain(this.#texts, isFinal), isHighlighted: false };
    this.#shown[index] = shown;
    if (!old) this.#element.append(shown.node);
    else if (!before) old.node.replaceWith(shown.node);
    yield* growPlain(shown, this.#blocks.list[index]);
  }

  /**
   * Return the node of a block, with frames around code and tables.
   *
   * @param {ShownBlock["block"]} block
   */
  #make(block, hasDirection = true) {
    const node = this.#framed(block.html).firstChild ?? document.createTextNode("");
    return hasDirection ? direct(node) : node;
  }

  /** @param {string} html */
  #framed(html) {
    const fragment = this.#clean(html);
    for (const pre of fragment.querySelectorAll("pre")) frameCode(pre, this.#texts);
    for (const table of fragment.querySelectorAll("table")) frameTable(table, this.#texts);
    return fragment;
  }

  /**
   * Return the content of HTML, with its formulas typeset.
   *
   * @param {string} html
   */
  #clean(html) {
    const content = clean(html);
    nameNotes(content, this.#notePrefix);
    this.#formulas.show(content);
    return content;
  }
}
