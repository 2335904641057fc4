/** Markdown as it arrives, shown: finished blocks stay as they are, only the last ones are drawn again. */

import { Blocks } from "./blocks.js";
import { copyCode, frame, highlight } from "./code.js";
import { patch, patchText } from "./patch.js";
import { clean } from "./sanitizer.js";
import { frameTable, growTable } from "./table.js";

// Of the main thread, the tail may take a ninth: however long it is, there is time for everything else.
const REST = 8;

/** A text in Markdown, shown as it grows. */
export class MarkdownDocument {
  #element;
  #words;
  #highlighter;
  #blocks;
  // What is shown: {block, node, highlighted} of each of the blocks.
  #shown = [];
  #text = "";
  #restUntil = 0;
  #timer = 0;

  /**
   * element: where it is shown; what is in it is replaced.
   * words: {copy, copied, code, table, image}, image with {alt} and {address}.
   * highlighter: the address of the highlighter's module, "" for none.
   */
  constructor(element, { words, highlighter = "" }) {
    this.#element = element;
    this.#words = words;
    this.#highlighter = highlighter;
    this.#blocks = new Blocks(words.image);
    element.classList.add("sc-markdown");
    element.replaceChildren();
    element.addEventListener("click", ({ target }) => {
      const button = target.closest(".sc-copy");
      if (button) copyCode(button, words);
    });
  }

  /**
   * Show text: cheap where it only grew since the last time. Call it once a frame at most.
   *
   * ended: there will be no more of it. Until then a long last block is drawn less often than it is asked for; what was
   * left out follows by itself.
   */
  draw(text, { ended = false } = {}) {
    this.#text = text;
    clearTimeout(this.#timer);
    const rest = this.#restUntil - performance.now();
    if (rest > 0 && !ended) this.#timer = setTimeout(() => this.#draw(false), rest);
    else this.#draw(ended);
  }

  #draw(ended) {
    const began = performance.now();
    const first = this.#blocks.update(this.#text, ended);
    const { list } = this.#blocks;
    for (let index = first; index < list.length; index += 1) this.#show(index, list[index]);
    for (const { node } of this.#shown.splice(list.length)) node.remove();
    this.#highlight(ended ? list.length : this.#blocks.finished);
    const now = performance.now();
    this.#restUntil = now + REST * (now - began);
  }

  #show(index, block) {
    const shown = this.#shown[index];
    if (!shown) {
      const node = this.#make(block);
      this.#element.append(node);
      this.#shown.push({ block, node, highlighted: false });
      return;
    }
    const { block: before, node } = shown;
    if (block.open && before.open?.start === block.open.start) {
      const code = node.querySelector("code");
      if (!code.firstChild) code.append("");
      patchText(code.firstChild, block.open.text);
    } else if (block.html !== before.html) {
      if (!growTable(node, before.html, block.html)) shown.node = patch(node, this.#make(block));
      shown.highlighted = false;
    }
    shown.block = block;
  }

  /** Return a block as an element, with what is ours around what is the text's. */
  #make(block) {
    const fragment = clean(block.html);
    for (const pre of fragment.querySelectorAll("pre")) frame(pre, this.#words);
    for (const table of fragment.querySelectorAll("table")) frameTable(table, this.#words);
    return fragment.firstChild ?? document.createTextNode("");
  }

  #highlight(count) {
    if (!this.#highlighter) return;
    for (const shown of this.#shown.slice(0, count)) {
      if (shown.highlighted) continue;
      shown.highlighted = true;
      if (shown.node.nodeType === Node.ELEMENT_NODE) highlight(shown.node, this.#highlighter);
    }
  }
}
