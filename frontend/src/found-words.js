/** Shows the message that a search has found, and marks the words in it. */

/**
 * @import { Chat } from "./chat.js"
 * @import { MessageView } from "./message-list.js"
 * @import { SearchMatch } from "./types"
 */

// The name in `::highlight()` of messages.css.
const HIGHLIGHT = "sc-found";
// Scripts without spaces between words: there, a match may begin within a run of letters.
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u;

export class FoundWords {
  #chat;
  /** @type {MutationObserver | null} */
  #observer = null;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
    chat.signal.addEventListener("abort", () => this.clear());
  }

  /**
   * Show a message of the conversation in view, also one on another branch.
   *
   * @param {SearchMatch} match
   */
  async show({ message, snippet }) {
    const { autoScroll, branches, messages } = this.#chat;
    if (!message) return;
    if (!messages.find(message)) await branches.open(message);
    const view = await messages.reveal(message);
    if (!view) return;
    autoScroll.moveTo(view.element);
    view.element.classList.add("sc-found");
    this.#mark(view, snippet.filter(({ is_match: isMatch }) => isMatch).map(({ text }) => text));
  }

  /** Remove the marks. */
  clear() {
    this.#observer?.disconnect();
    globalThis.CSS.highlights?.delete(HIGHLIGHT);
  }

  /**
   * Mark words now and whenever the message is rendered again, and go to the first.
   *
   * @param {MessageView} view
   * @param {string[]} words
   */
  #mark(view, words) {
    this.clear();
    if (!words.length || !globalThis.CSS.highlights) return;
    const pattern = new RegExp(words.map(patternOf).join("|"), "giu");
    const text = /** @type {HTMLElement} */ (view.element.querySelector("[data-part=text]"));
    // The text moves while it is rendered; the first match is kept in view until the user scrolls.
    let isLeft = false;
    const { autoScroll, parts, signal } = this.#chat;
    for (const type of ["wheel", "touchmove", "pointerdown", "keydown"]) {
      parts.scroll.addEventListener(type, () => (isLeft = true), { once: true, passive: true, signal });
    }
    const mark = () => {
      const ranges = [...rangesOf(text, pattern)];
      CSS.highlights.set(HIGHLIGHT, new Highlight(...ranges));
      if (!isLeft && ranges.length) autoScroll.moveTo(/** @type {HTMLElement} */ (ranges[0].startContainer.parentElement));
    };
    this.#observer = new MutationObserver(mark);
    this.#observer.observe(text, { childList: true, characterData: true, subtree: true });
    mark();
  }
}

/**
 * Yield where a pattern is in a text, within each of its nodes.
 *
 * @param {HTMLElement} element
 * @param {RegExp} pattern
 */
function* rangesOf(element, pattern) {
  const nodes = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
    for (const { index, 0: found } of String(node.nodeValue).matchAll(pattern)) {
      const range = new Range();
      range.setStart(node, index);
      range.setEnd(node, index + found.length);
      yield range;
    }
  }
}

/** @param {string} word */
export function patternOf(word) {
  const escaped = word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  return UNSPACED.test(word) ? escaped : `(?<![\\p{L}\\p{N}])${escaped}`;
}
