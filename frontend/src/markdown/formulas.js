/** Typesets the formulas of a reply. The module that does so is loaded with the first formula. Invalid TeX stays as it was written. */

import { loadedModule, loadModule } from "../modules.js";
import { Slices } from "./slices.js";

// As many are typeset at once, so that a growing block does not flicker; one takes about 1 ms.
const MAX_AT_ONCE = 20;
const MAX_REMEMBERED = 500;
const NEW_FORMULAS = ".math:not([data-formula])";

/** @type {Map<string, Element | null>} Null for what is not valid. */
const remembered = new Map();

export class Formulas {
  #address;
  #root;
  #slices = new Slices();

  /**
   * @param {Element} root Where the formulas will be.
   * @param {string} address Of the module, "" for none.
   */
  constructor(root, address) {
    this.#root = root;
    this.#address = address;
  }

  /**
   * Typeset the formulas of new content, now or soon.
   *
   * @param {ParentNode} content
   */
  show(content) {
    const found = this.#address ? content.querySelectorAll(NEW_FORMULAS) : [];
    if (!found.length) return;
    const module = loadedModule(this.#address);
    if (module && found.length <= MAX_AT_ONCE) for (const element of found) show(element, module);
    else loadModule(this.#address).then((loaded) => this.#showAll(loaded), () => {});
  }

  /** @param {{typeset: (formula: string) => Element | null}} module */
  #showAll(module) {
    const found = this.#root.querySelectorAll(NEW_FORMULAS);
    this.#slices.run(
      (function* () {
        for (const element of found) yield show(element, module);
      })(),
      false,
    );
  }
}

/**
 * @param {Element} element
 * @param {{typeset: (formula: string) => Element | null}} module
 */
function show(element, module) {
  const formula = element.textContent ?? "";
  if (!remembered.has(formula)) {
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(formula, module.typeset(formula));
  }
  const math = remembered.get(formula);
  if (!math) return;
  // What a selection copies: MathML as text is "a1" for a with an index.
  const source = document.createElement("span");
  source.className = "sc-source";
  source.textContent = formula;
  source.setAttribute("aria-hidden", "true");
  element.setAttribute("data-formula", formula);
  element.replaceChildren(math.cloneNode(true), source);
}
