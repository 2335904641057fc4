/** The elements that a piece of the page is made of, by name; templates of the page as elements. */

/** Return the elements below root that have a data-part, by its name: {"retry-button": …} as {retryButton: …}. */
export function parts(root) {
  const found = [...root.querySelectorAll("[data-part]")];
  return Object.fromEntries(found.map((element) => [camel(element.dataset.part), element]));
}

/** Return functions that make an element of each template below root, by its name. */
export function templates(root) {
  const found = [...root.querySelectorAll("template[data-template]")];
  return Object.fromEntries(found.map((template) => [template.dataset.template, () => clone(template)]));
}

function clone(template) {
  return template.content.firstElementChild.cloneNode(true);
}

function camel(name) {
  return name.replace(/-(\w)/g, (_all, letter) => letter.toUpperCase());
}
