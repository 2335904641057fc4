/**
 * Which replies ended without being seen in this browser. Kept in local storage, which all tabs share and which outlives them.
 *
 * A tab that sees a live reply notes it as unseen; the tab that shows its ending notes it as seen. The notes are by reply, so a tab
 * that is behind cannot make a reply unseen again.
 */

import { isLive } from "./live-state.js";
import { TabStorage } from "./tab-storage.js";

/** @import { Conversation } from "./types" */

// A note is about 100 bytes.
const MAX_NOTES = 100;

/** @typedef {{reply: string | null, isSeen: boolean}} Note */

export class UnreadMarks {
  #stored;

  /**
   * @param {object} options
   * @param {string} options.scope Separates apps and users.
   * @param {() => void} options.changed Called when another tab has changed the marks.
   * @param {AbortSignal} options.signal
   */
  constructor({ scope, changed, signal }) {
    this.#stored = new TabStorage(`unread:${scope}`, storageOfAllTabs());
    addEventListener("storage", ({ key }) => key === this.#stored.key && changed(), { signal });
  }

  /** @param {Conversation} conversation */
  isUnread({ id, last_status: status }) {
    return !isLive(status) && this.#read()[id]?.isSeen === false;
  }

  /**
   * Note the replies that have not ended.
   *
   * @param {Conversation[]} conversations
   */
  noteLive(conversations) {
    const notes = this.#read();
    for (const { id, head, last_status: status } of conversations) {
      if (isLive(status) && notes[id]?.reply !== head) this.#write(id, { reply: head, isSeen: false });
    }
  }

  /**
   * Note that the user has seen this ended reply.
   *
   * @param {string} conversation
   * @param {string | null} reply
   */
  noteSeen(conversation, reply) {
    const note = this.#read()[conversation];
    if (!note?.isSeen || note.reply !== reply) this.#write(conversation, { reply, isSeen: true });
  }

  /** @returns {Record<string, Note>} By conversation, the oldest first. */
  #read() {
    try {
      return JSON.parse(this.#stored.read() || "{}");
    } catch {
      // Another script of the site may have written something else there.
      return {};
    }
  }

  /**
   * @param {string} conversation
   * @param {Note} note
   */
  #write(conversation, note) {
    const { [conversation]: _old, ...others } = this.#read();
    const kept = Object.entries(others).slice(1 - MAX_NOTES);
    this.#stored.write(JSON.stringify(Object.fromEntries([...kept, [conversation, note]])));
  }
}

/** The property itself throws where a browser forbids storage. */
function storageOfAllTabs() {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}
