/** Shows a text in Markdown as it arrives: finished blocks stay as they are, only the last ones are drawn again. */

import { Blocks } from "./blocks.js";
import { copyCode, frameCode, highlightCode } from "./code-block.js";
import { Formulas } from "./formulas.js";
import { portableHtml } from "./portable-html.js";
import { patch, patchText } from "./patch.js";
import { clean } from "./sanitizer.js";
import { Slices } from "./slices.js";
import { frameTable, growTable } from "./table.js";

/** @import { MarkdownTexts } from "../types" */

// After drawing, it pauses for eight times as long: however long the text is, it takes a ninth of the main thread.
const PAUSE_FACTOR = 8;

// So many characters are shown at once, also for the first time.
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
  #notePrefix = `fn-${(documents += 1)}-`;
  #pauseUntil = 0;
  /** @type {number | undefined} */
  #timer;

  /**
   * @param {HTMLElement} element Its content is replaced.
   * @param {object} options
   * @param {MarkdownTexts} options.texts copy, copied, code, table, image, done, not_done.
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
    });
    element.addEventListener("click", (event) => this.#followNote(event));
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

  /** @param {boolean} isComplete */
  #drawNow(isComplete) {
    const began = performance.now();
    const { first, steps } = this.#blocks.begin(this.#text, isComplete);
    this.#current = Math.min(this.#current, first);
    this.#slices.run(this.#follow(steps, isComplete), this.#text.length <= SHORT);
    const now = performance.now();
    this.#pauseUntil = now + PAUSE_FACTOR * (now - began);
  }

  /**
   * Show the blocks of a text while it is read.
   *
   * @param {Generator<number>} steps
   * @param {boolean} isComplete
   */
  *#follow(steps, isComplete) {
    const { list } = this.#blocks;
    for (const ready of steps) {
      yield;
      for (; this.#current < ready; this.#current += 1) {
        if (this.#show(this.#current)) yield;
      }
    }
    for (const { node } of this.#shown.splice(list.length)) node.remove();
    this.#highlight(isComplete ? list.length : this.#blocks.finished);
  }

  /**
   * Show a block; return whether it was not shown before.
   *
   * @param {number} index
   */
  #show(index) {
    const block = this.#blocks.list[index];
    const shown = this.#shown[index];
    if (shown?.block === block) return false;
    if (shown) {
      this.#update(shown, block);
      shown.block = block;
      return true;
    }
    const node = this.#make(block);
    this.#element.append(node);
    this.#shown.push({ block, node, isHighlighted: false });
    return true;
  }

  /**
   * @param {ShownBlock} shown
   * @param {ShownBlock["block"]} block What is to be shown instead.
   */
  #update(shown, block) {
    const { block: before, node } = shown;
    if (block.open && before.open?.start === block.open.start) {
      growCode(/** @type {Element} */ (node), block.open.text);
    } else if (block.html !== before.html) {
      if (!growTable(node, before.html, block.html, (html) => this.#clean(html))) shown.node = patch(node, this.#make(block));
      shown.isHighlighted = false;
    }
  }

  /**
   * Return the node of a block, with frames around code and tables.
   *
   * @param {ShownBlock["block"]} block
   */
  #make(block) {
    const fragment = this.#clean(block.html);
    for (const pre of fragment.querySelectorAll("pre")) frameCode(pre, this.#texts);
    for (const table of fragment.querySelectorAll("table")) frameTable(table, this.#texts);
    return fragment.firstChild ?? document.createTextNode("");
  }

  /**
   * Return the content of HTML, with its formulas typeset.
   *
   * @param {string} html
   */
  #clean(html) {
    const content = clean(html);
    this.#nameNotes(content);
    this.#formulas.show(content);
    return content;
  }

  /** @param {DocumentFragment} content New content, in which the names of footnotes are not unique. */
  #nameNotes(content) {
    for (const mark of content.querySelectorAll("sup[id]")) mark.id = mark.id.replace("fn-", this.#notePrefix);
    for (const link of content.querySelectorAll('a[href^="#fn-"]')) {
      link.setAttribute("href", link.getAttribute("href")?.replace("fn-", this.#notePrefix) ?? "");
    }
  }

  /**
   * Show a footnote without changing the page's address, which belongs to the chat.
   *
   * @param {MouseEvent} event
   */
  #followNote(event) {
    const href = /** @type {Element} */ (event.target).closest("a")?.getAttribute("href");
    if (!href?.startsWith("#")) return;
    event.preventDefault();
    const note = /** @type {HTMLElement | null} */ (this.#element.querySelector(`[id="${CSS.escape(href.slice(1))}"]`));
    if (!note) return;
    note.tabIndex = -1;
    note.focus({ preventScroll: true });
    note.scrollIntoView({ block: "nearest" });
  }

  /** @param {number} count How many blocks, from the first, to colour. */
  #highlight(count) {
    if (!this.#highlighter) return;
    for (const shown of this.#shown.slice(0, count)) {
      if (shown.isHighlighted) continue;
      shown.isHighlighted = true;
      if (shown.node instanceof Element) highlightCode(shown.node, this.#highlighter);
    }
  }
}

/**
 * @param {Element} block
 * @param {string} text
 */
function growCode(block, text) {
  const code = /** @type {Element} */ (block.querySelector("code"));
  if (!code.firstChild) code.append("");
  patchText(/** @type {Text} */ (code.firstChild), text);
}
