/**
 * A text in Markdown whose renderer is loaded when the first one is shown: it is two thirds of the whole script, and a new
 * chat, or one that waits in a corner, has no use for it. Until it is there, and where it cannot be had, text is text.
 */

let renderer = null;

/** Load the renderer, if that has not been begun. Returns a promise of its module; text stays text without it. */
export function loadRenderer(address) {
  renderer ??= import(address);
  return renderer;
}

export class Prose {
  #element;
  #words;
  #modules;
  #document = null;
  #latest = null;

  /** modules: addresses of {markdown, highlighter}. The rest is as MarkdownDocument in markdown/document.js has it. */
  constructor(element, { words, modules }) {
    this.#element = element;
    this.#words = words.texts;
    this.#modules = modules;
  }

  draw(text, options) {
    if (this.#document) return this.#document.draw(text, options);
    const isFirst = !this.#latest;
    if (!text && isFirst) return;
    this.#latest = [text, options];
    this.#element.classList.add("sc-raw");
    this.#element.textContent = text;
    if (isFirst) loadRenderer(this.#modules.markdown).then((module) => this.#render(module), () => {});
  }

  #render({ MarkdownDocument }) {
    this.#element.classList.remove("sc-raw");
    this.#element.replaceChildren();
    this.#document = new MarkdownDocument(this.#element, { words: this.#words, highlighter: this.#modules.highlighter });
    this.#document.draw(...this.#latest);
  }
}
