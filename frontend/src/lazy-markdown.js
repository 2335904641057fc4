/**
 * A text in Markdown whose renderer is loaded when the first text is shown: the renderer is two thirds of the script, and a new chat
 * does not need it. Until it is there, and if it cannot be loaded, the source is shown as plain text.
 */

/**
 * @import { MarkdownDocument } from "./markdown/document.js"
 * @import { Translations } from "./translations.js"
 * @import { ModuleAddresses } from "./types"
 */

// Laying out a long text takes time, and until the renderer is there only the beginning is in view.
const SOURCE_CHARACTERS = 20_000;

/** @type {Promise<{MarkdownDocument: typeof MarkdownDocument}> | null} */
let renderer = null;

/**
 * Load the renderer, unless that has begun already. Returns a promise of its module.
 *
 * @param {string} address
 */
export function loadRenderer(address) {
  renderer ??= import(address);
  return renderer;
}

/**
 * Begin to load the renderer, which will be needed soon.
 *
 * @param {string} address
 */
export function preloadRenderer(address) {
  loadRenderer(address).catch(() => {});
}

export class LazyMarkdown {
  #element;
  #texts;
  #modules;
  /** @type {MarkdownDocument | null} */
  #document = null;
  #isUnavailable = false;
  /** @type {[string, {isComplete: boolean}] | null} The last arguments of `draw`. */
  #latest = null;

  /**
   * @param {HTMLElement} element
   * @param {{translations: Translations, modules: ModuleAddresses}} options
   */
  constructor(element, { translations, modules }) {
    this.#element = element;
    this.#texts = translations.texts;
    this.#modules = modules;
  }

  /**
   * @param {string} text
   * @param {{isComplete: boolean}} options See MarkdownDocument.
   */
  draw(text, options) {
    if (this.#document) return this.#document.draw(text, options);
    const isFirst = !this.#latest;
    if (!text && isFirst) return;
    this.#latest = [text, options];
    this.#showSource(text);
    if (isFirst) loadRenderer(this.#modules.markdown).then((module) => this.#render(module.MarkdownDocument), () => this.#giveUp());
  }

  /** @param {string} text */
  #showSource(text) {
    this.#element.classList.add("sc-raw");
    this.#element.textContent = this.#isUnavailable ? text : text.slice(0, SOURCE_CHARACTERS);
  }

  #giveUp() {
    this.#isUnavailable = true;
    if (this.#latest) this.#showSource(this.#latest[0]);
  }

  /** Return the text as HTML for other programs, "" as long as the renderer is not there. */
  get html() {
    return this.#document?.html ?? "";
  }

  /** @param {typeof MarkdownDocument} Document */
  #render(Document) {
    this.#element.classList.remove("sc-raw");
    this.#element.replaceChildren();
    const { highlighter, typesetter } = this.#modules;
    this.#document = new Document(this.#element, { texts: this.#texts, highlighter, typesetter });
    if (this.#latest) this.#document.draw(...this.#latest);
  }
}
