/**
 * Text that is typed and not yet answered, kept in this tab's session storage: a reload loses nothing.
 *
 * A draft keeps its client_id, and the reply after which it was sent, as long as its text and model stay the same, so that sending it
 * again cannot make a second message.
 */

import { newClientId } from "./client-id.js";

/**
 * parent: the reply after which the text was sent, null if it was not.
 *
 * @typedef {{text: string, model: string, parent: string | null, clientId: string}} Draft
 */

const SIGN_IN_KEY = "streaming_chat:handed over:";

export class Drafts {
  #key;
  #storage;

  /** @param {string} scope Separates the drafts of conversations, elements and users. */
  constructor(scope, storage = sessionStorage) {
    this.#key = `streaming_chat:draft:${scope}`;
    this.#storage = storage;
  }

  /**
   * Return the draft, null when there is none.
   *
   * @returns {Draft | null}
   */
  load() {
    try {
      return JSON.parse(this.#storage.getItem(this.#key) ?? "null");
    } catch {
      return null;
    }
  }

  /**
   * Keep this text; return the draft.
   *
   * @param {string} text
   * @param {string} model
   * @param {string | null} parent
   * @returns {Draft}
   */
  save(text, model = "", parent = null) {
    const old = this.load();
    const same = old?.clientId && old.text === text && old.model === model ? old : null;
    const draft = { text, model, parent: same?.parent || parent, clientId: same?.clientId ?? newClientId() };
    this.#write(text ? JSON.stringify(draft) : null);
    return draft;
  }

  forget() {
    this.#write(null);
  }

  /** @param {string | null} value */
  #write(value) {
    try {
      if (value === null) this.#storage.removeItem(this.#key);
      else this.#storage.setItem(this.#key, value);
    } catch {
      // Storage that is full or forbidden costs the draft at a reload, not the chat.
    }
  }
}

/**
 * Keep a text over the sign-in, in this tab: a user's drafts are separate from a visitor's.
 *
 * @param {string} root
 * @param {string} text
 */
export function keepForSignIn(root, text, storage = sessionStorage) {
  try {
    if (text) storage.setItem(SIGN_IN_KEY + root, text);
  } catch {
    // As above.
  }
}

/**
 * Return the text that was kept over the sign-in, once; "" when there is none.
 *
 * @param {string} root
 */
export function takeKeptText(root, storage = sessionStorage) {
  try {
    const text = storage.getItem(SIGN_IN_KEY + root);
    storage.removeItem(SIGN_IN_KEY + root);
    return text ?? "";
  } catch {
    return "";
  }
}
