/**
 * Text that is typed and not yet answered, kept in this tab's session storage: a reload loses nothing.
 *
 * A draft keeps its client_id, and the reply after which it was sent, as long as its text, model and effort stay the same, so that
 * sending it again cannot make a second message.
 */

import { newClientId } from "./client-id.js";
import { TabStorage } from "./tab-storage.js";

/** @import { ModelChoice } from "./types" */

/**
 * parent: the reply after which the text was sent, null if it was not.
 *
 * @typedef {ModelChoice & {text: string, parent: string | null, clientId: string}} Draft
 */

export class Drafts {
  #stored;

  /**
   * @param {string} scope Separates the drafts of conversations, elements and users.
   * @param {Storage} [storage]
   */
  constructor(scope, storage) {
    this.#stored = new TabStorage(`draft:${scope}`, storage);
  }

  /**
   * Return the draft, null when there is none.
   *
   * @returns {Draft | null}
   */
  load() {
    try {
      return JSON.parse(this.#stored.read() || "null");
    } catch {
      // Another script of the site may have written something else there.
      return null;
    }
  }

  /**
   * Keep this text; return the draft.
   *
   * @param {string} text
   * @param {ModelChoice} choice
   * @param {string | null} parent
   * @returns {Draft}
   */
  save(text, choice, parent = null) {
    const old = this.load();
    const { model, effort } = choice;
    const same = old?.clientId && old.text === text && old.model === model && old.effort === effort ? old : null;
    const draft = same ? { ...same, parent: same.parent || parent } : newDraft(text, choice, parent);
    this.keep(draft);
    return draft;
  }

  /**
   * Keep a draft as it is.
   *
   * @param {Draft} draft
   */
  keep(draft) {
    this.#stored.write(draft.text ? JSON.stringify(draft) : "");
  }

  forget() {
    this.#stored.write("");
  }
}

/**
 * Return a draft that has not been sent.
 *
 * @param {string} text
 * @param {ModelChoice} choice
 * @param {string | null} parent
 * @returns {Draft}
 */
export function newDraft(text, { model, effort }, parent = null) {
  return { text, model, effort, parent, clientId: newClientId() };
}

/**
 * Keep a text for the next page of this tab, over the sign-in or on the way to the chat page, whose drafts are separate.
 *
 * @param {string} root
 * @param {string} text
 * @param {Storage} [storage]
 */
export function keepText(root, text, storage) {
  if (text) signInText(root, storage).write(text);
}

/**
 * Return the text that was kept, once; "" when there is none.
 *
 * @param {string} root
 * @param {Storage} [storage]
 */
export function takeKeptText(root, storage) {
  const stored = signInText(root, storage);
  const text = stored.read();
  stored.write("");
  return text;
}

/**
 * @param {string} root
 * @param {Storage} [storage]
 */
function signInText(root, storage) {
  return new TabStorage(`sign-in:${root}`, storage);
}
