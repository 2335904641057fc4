/**
 * What is typed and not yet answered, kept in this tab's session: a reload loses nothing.
 *
 * A draft is {text, model, parent, clientId}. It keeps its client_id, and the reply after which it was sent, as long as its
 * text and model stay, so that sending it once more cannot make a second message.
 */

const HANDED = "streaming_chat:handed over:";

export class Drafts {
  constructor(scope, storage = sessionStorage) {
    this.key = `streaming_chat:draft:${scope}`;
    this.storage = storage;
  }

  /** Return the draft, null without one. */
  load() {
    try {
      return JSON.parse(this.storage.getItem(this.key));
    } catch {
      return null;
    }
  }

  /** Keep this text; returns the draft with its client_id. parent: the reply after which it is sent, null if it is not. */
  save(text, model = "", parent = null) {
    const old = this.load();
    const same = old?.clientId && old.text === text && old.model === model;
    const draft = { text, model, parent: (same && old.parent) || parent, clientId: same ? old.clientId : newId() };
    this.#write(text ? JSON.stringify(draft) : null);
    return draft;
  }

  forget() {
    this.#write(null);
  }

  #write(value) {
    try {
      if (value === null) this.storage.removeItem(this.key);
      else this.storage.setItem(this.key, value);
    } catch {
      // Storage that is full or forbidden costs the draft at a reload, not the chat.
    }
  }
}

/** Keep a text for whoever signs in now, in this tab: their drafts are others than those from before. */
export function handOver(root, text, storage = sessionStorage) {
  try {
    if (text) storage.setItem(HANDED + root, text);
  } catch {
    // As above.
  }
}

/** Return what was handed over, once; "" for nothing. */
export function takeOver(root, storage = sessionStorage) {
  try {
    const text = storage.getItem(HANDED + root);
    storage.removeItem(HANDED + root);
    return text ?? "";
  } catch {
    return "";
  }
}

/** Return a random id. crypto.randomUUID is missing where the page came over plain HTTP. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
