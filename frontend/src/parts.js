/** The named elements of a piece of the page (data-part), and the page's templates (data-template). */

/** @import { ElementFactories } from "./types" */

/**
 * Return the elements below root that have a data-part, by its name: `data-part="retry-button"` is `retryButton`. Which names there
 * are is in types.d.ts.
 *
 * @param {Element} root
 * @returns {any}
 */
export function findParts(root) {
  const found = /** @type {HTMLElement[]} */ ([...root.querySelectorAll("[data-part]")]);
  return Object.fromEntries(found.map((element) => [camelCase(element.dataset.part ?? ""), element]));
}

/**
 * Return, for each template below root, a function that makes its element.
 *
 * @param {Element} root
 */
export function findTemplates(root) {
  const found = /** @type {HTMLTemplateElement[]} */ ([...root.querySelectorAll("template[data-template]")]);
  const factories = Object.fromEntries(found.map((template) => [template.dataset.template, () => copyOf(template)]));
  return /** @type {ElementFactories} */ (factories);
}

/** @param {HTMLTemplateElement} template */
function copyOf(template) {
  return template.content.firstElementChild?.cloneNode(true);
}

/** @param {string} name */
function camelCase(name) {
  return name.replace(/-(\w)/g, (_match, letter) => letter.toUpperCase());
}
