/** What every part of a chat needs: the element's configuration, its named parts and templates, translations, API and errors. */

import { Api } from "./api.js";
import { readConfig } from "./config.js";
import { ErrorReporter } from "./error-reporter.js";
import { Notices } from "./notices.js";
import { findParts, findTemplates } from "./parts.js";
import { Translations } from "./translations.js";

/** @import { ChatParts } from "./types" */

/**
 * @param {HTMLElement} element
 * @param {AbortSignal} signal Aborted when the chat is closed.
 */
export function createContext(element, signal) {
  /** @type {ChatParts} */
  const parts = findParts(element);
  const config = readConfig(element);
  const translations = new Translations(config.texts, config.language);
  const token = /** @type {HTMLInputElement} */ (parts.composer.elements.namedItem("csrfmiddlewaretoken"));
  const api = new Api({ ...config, csrfToken: token.value, unexpected: translations.say("unexpected") });
  const moveFocus = () => parts.text.focus();
  const notices = new Notices({ parts, translations, isVisitor: config.isVisitor, moveFocus, signal });
  const errors = new ErrorReporter({ element, notices, signal });
  return { element, config, parts, templates: findTemplates(element), translations, api, notices, errors, signal };
}
