/** Shows a text in Markdown as it arrives: finished blocks stay as they are, only the last ones are drawn again. */

import { Blocks } from "./blocks.js";
import { copyCode, frameCode, highlightCode } from "./code-block.js";
import { patch, patchText } from "./patch.js";
import { clean } from "./sanitizer.js";
import { frameTable, growTable } from "./table.js";

/** @import { MarkdownTexts } from "../types" */

// After drawing, it pauses for eight times as long: however long the text is, it takes a ninth of the main thread.
const PAUSE_FACTOR = 8;

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
   */
  constructor(element, { texts, highlighter = "" }) {
    this.#element = element;
    this.#texts = texts;
    this.#highlighter = highlighter;
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

  /** @param {boolean} isComplete */
  #drawNow(isComplete) {
    const began = performance.now();
    const first = this.#blocks.update(this.#text, isComplete);
    const { list } = this.#blocks;
    for (let index = first; index < list.length; index += 1) this.#show(index, list[index]);
    for (const { node } of this.#shown.splice(list.length)) node.remove();
    this.#highlight(isComplete ? list.length : this.#blocks.finished);
    const now = performance.now();
    this.#pauseUntil = now + PAUSE_FACTOR * (now - began);
  }

  /**
   * @param {number} index
   * @param {ShownBlock["block"]} block
   */
  #show(index, block) {
    const shown = this.#shown[index];
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
    if (block.open && before.open?.start === block.open.start) {
      growCode(/** @type {Element} */ (node), block.open.text);
    } else if (block.html !== before.html) {
      if (!growTable(node, before.html, block.html)) shown.node = patch(node, this.#make(block));
      shown.isHighlighted = false;
    }
  }

  /**
   * Return the node of a block, with frames around code and tables.
   *
   * @param {ShownBlock["block"]} block
   */
  #make(block) {
    const fragment = clean(block.html);
    this.#nameNotes(fragment);
    for (const pre of fragment.querySelectorAll("pre")) frameCode(pre, this.#texts);
    for (const table of fragment.querySelectorAll("table")) frameTable(table, this.#texts);
    return fragment.firstChild ?? document.createTextNode("");
  }

  /** @param {Element | DocumentFragment} content New content, in which the names of footnotes are not unique. */
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
