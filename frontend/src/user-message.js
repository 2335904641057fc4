/** One message of the user. Its text is set by textContent only. */

import { makeCopyButton } from "./copy-button.js";
import { isSendKey, onEscape } from "./keys.js";
import { Pager } from "./pager.js";
import { findParts } from "./parts.js";

/**
 * @import { Direction } from "./pager.js"
 * @import { Translations } from "./translations.js"
 * @import { EditParts, ElementFactories, Siblings, UserParts } from "./types"
 */

/**
 * @typedef {object} UserMessageHandlers
 * @property {(message: UserMessage, text: string) => void} edit
 * @property {(message: UserMessage, direction: Direction) => void} step
 */

export class UserMessage {
  #templates;
  #on;
  /** @type {UserParts} */
  #parts;

  /**
   * @param {object} options
   * @param {ElementFactories} options.templates
   * @param {Translations} options.translations
   * @param {UserMessageHandlers} options.on
   * @param {string} text
   */
  constructor({ templates, translations, on }, text) {
    this.#templates = templates;
    this.#on = on;
    this.text = text;
    /** @type {string | null} Null until the server has it. */
    this.id = null;
    /** @type {string | null} The reply before it. */
    this.parent = null;
    this.element = templates.user();
    this.#parts = findParts(this.element);
    this.#parts.text.textContent = text;
    this.pager = new Pager(this.element, translations, (direction) => on.step(this, direction));
    this.#parts.edit.addEventListener("click", () => this.openForm());
    makeCopyButton(this.#parts.copy, translations, () => this.text);
  }

  /**
   * The server has the message.
   *
   * @param {string | null} id
   * @param {string | null} parent
   * @param {Siblings} siblings
   */
  confirmSent(id, parent, siblings) {
    this.id = id;
    this.parent = parent;
    this.pager.show(siblings);
    this.#parts.actions.hidden = false;
  }

  /**
   * Replace the message by a form that sends another version of it.
   *
   * @param {string} text What the form holds: the message's text, or an edit that was refused.
   */
  openForm(text = this.text) {
    if (this.element.classList.contains("sc-editing")) return this.element.querySelector("textarea")?.focus();
    const form = this.#templates.edit();
    /** @type {EditParts} */
    const { text: field, cancel } = findParts(form);
    field.value = text;
    const send = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (field.value.trim()) this.#on.edit(this, field.value);
    };
    form.addEventListener("submit", send);
    field.addEventListener("keydown", (event) => isSendKey(event) && send(event));
    cancel.addEventListener("click", () => this.#closeForm(form));
    onEscape(form, () => this.#closeForm(form));
    this.element.classList.add("sc-editing");
    this.#parts.text.after(form);
    field.focus();
    field.setSelectionRange(text.length, text.length);
  }

  /** @param {HTMLElement} form */
  #closeForm(form) {
    form.remove();
    this.element.classList.remove("sc-editing");
    this.#parts.edit.focus();
  }
}
