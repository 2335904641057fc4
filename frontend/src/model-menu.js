/** The menu of models: in the composer, and at a reply that another model is to write again. There is one for the whole chat. */

import { PopupMenu } from "./popup-menu.js";

/** @import { OfferedModel } from "./types" */

/**
 * @typedef {object} Opening
 * @property {HTMLElement} opener
 * @property {OfferedModel[]} models
 * @property {string | undefined} current The id of the model that is marked.
 * @property {(id: string) => void} chosen
 */

export class ModelMenu {
  #element;
  #menu;
  /** @type {Opening | null} */
  #opening = null;

  /** @param {{menu: HTMLElement, signal: AbortSignal}} options */
  constructor({ menu, signal }) {
    this.#element = menu;
    const findOpener = () => this.#opening?.opener;
    const chosen = (/** @type {HTMLButtonElement} */ { value }) => this.#opening?.chosen(value);
    this.#menu = new PopupMenu({ menu, findOpener, chosen, isAtStart: true, signal });
  }

  /** @param {Opening} opening */
  open(opening) {
    this.#opening = opening;
    if (!this.#menu.isOpen) this.#element.replaceChildren(...opening.models.map((model) => itemOf(model, model.id === opening.current)));
    this.#menu.open(opening.opener);
  }
}

/**
 * @param {OfferedModel} model
 * @param {boolean} isCurrent
 */
function itemOf({ id, label, description }, isCurrent) {
  const item = Object.assign(document.createElement("button"), { type: "button", value: id, role: "menuitemradio", tabIndex: -1 });
  item.setAttribute("aria-checked", String(isCurrent));
  item.append(line("sc-choice", label));
  if (description) item.append(line("sc-choice-text", description));
  return item;
}

/**
 * @param {string} className
 * @param {string} textContent
 */
function line(className, textContent) {
  return Object.assign(document.createElement("span"), { className, textContent, dir: "auto" });
}
