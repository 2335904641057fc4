/** Makes the rows of the list of conversations. */

import { findParts } from "./parts.js";

/**
 * @import { Translations } from "./translations.js"
 * @import { Conversation, ElementFactories, RowParts, SearchMatch } from "./types"
 * @import { UnreadMarks } from "./unread-marks.js"
 */

export class ConversationRows {
  #root;
  #templates;
  #translations;
  #unread;

  /** @param {{root: string, templates: ElementFactories, translations: Translations, unread: UnreadMarks}} options */
  constructor({ root, templates, translations, unread }) {
    this.#root = root;
    this.#templates = templates;
    this.#translations = translations;
    this.#unread = unread;
  }

  /**
   * @param {Conversation} conversation
   * @param {string} current The id of the conversation in view.
   */
  make(conversation, current) {
    const { id, title, last_activity: lastActivity, match } = conversation;
    const row = this.#templates.conversation();
    const link = /** @type {HTMLAnchorElement} */ (row.querySelector("a"));
    /** @type {RowParts} */
    const { name, snippet, actions } = findParts(row);
    link.href = `${this.#root}c/${id}${match?.message ? `#m-${match.message}` : ""}`;
    link.dataset.id = id;
    name.textContent = title || this.#translations.say("untitled");
    link.title = this.#translations.dateAndTime(new Date(lastActivity));
    actions.value = id;
    actions.setAttribute("aria-label", this.#translations.say("actions", { title: name.textContent }));
    if (match) showMatch(match, match.message ? snippet : name);
    this.mark(link, conversation);
    showCurrent(link, current);
    return row;
  }

  /**
   * Show whether a conversation has a live reply, one that waits for an answer, or is unread.
   *
   * @param {HTMLElement} link
   * @param {Conversation} conversation
   */
  mark(link, conversation) {
    /** @type {RowParts} */
    const { mark } = findParts(link);
    const text = this.#markOf(conversation);
    mark.hidden = !text;
    mark.classList.toggle("sc-asks", text === "asks");
    mark.classList.toggle("sc-unread", text === "unread");
    mark.ariaLabel = text && this.#translations.say(text);
  }

  /** @param {Conversation} conversation */
  #markOf(conversation) {
    const { last_status: status } = conversation;
    if (status === "waiting") return "asks";
    if (status === "streaming") return "live";
    return this.#unread.isUnread(conversation) ? "unread" : null;
  }
}

/**
 * @param {HTMLElement} link
 * @param {string} current The id of the conversation in view.
 */
export function showCurrent(link, current) {
  if (link.dataset.id === current) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}

/**
 * Show what a search has found, with its words marked.
 *
 * @param {SearchMatch} match
 * @param {HTMLElement} place
 */
function showMatch({ snippet }, place) {
  if (!snippet.length) return;
  place.hidden = false;
  place.replaceChildren(...snippet.map(({ text, is_match: isMatch }) => (isMatch ? marked(text) : text)));
}

/** @param {string} text */
function marked(text) {
  return Object.assign(document.createElement("mark"), { textContent: text });
}
