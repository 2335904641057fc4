/** The button that copies a message and says so for a moment. */

import { copyText } from "./clipboard.js";

/** @import { Translations } from "./translations.js" */

const COPIED_MILLISECONDS = 2000;

/**
 * @param {HTMLButtonElement} button
 * @param {Translations} translations
 * @param {() => string} text Returns what to copy.
 * @param {() => string} html Returns the same as HTML, "" for none.
 */
export function makeCopyButton(button, translations, text, html = () => "") {
  const label = button.getAttribute("aria-label") ?? "";
  /** @type {number | undefined} */
  let timer;
  const reset = () => {
    button.setAttribute("aria-label", label);
    delete button.dataset.done;
  };
  button.addEventListener("click", async () => {
    if (!(await copyText(text(), html()))) return;
    button.setAttribute("aria-label", translations.say("copied"));
    button.dataset.done = "";
    clearTimeout(timer);
    timer = setTimeout(reset, COPIED_MILLISECONDS);
  });
}
