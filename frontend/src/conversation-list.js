/** The list of conversations in the sidebar: newest first and grouped by day, older ones on request, and search. */

import { ConversationRows, showCurrent } from "./conversation-rows.js";
import { groupByDay } from "./day-groups.js";
import { hasModifier } from "./keys.js";
import { findParts } from "./parts.js";
import { RowMenu } from "./row-menu.js";

/**
 * @import { Api } from "./api.js"
 * @import { ErrorReporter } from "./error-reporter.js"
 * @import { Translations } from "./translations.js"
 * @import { ChatParts, Conversation, ConversationPage, ElementFactories, GroupParts, SearchMatch } from "./types"
 * @import { UnreadMarks } from "./unread-marks.js"
 */

const SEARCH_DELAY_MILLISECONDS = 250;
// The server's default and greatest `limit`.
const PAGE_SIZE = 30;
const MAX_PAGE_SIZE = 100;

export class ConversationList {
  #api;
  #parts;
  #templates;
  #translations;
  #current;
  #opened;
  #unread;
  #rows;
  #menu;
  /** @type {Conversation[]} */
  #shown = [];
  /** @type {string | null} The `before` of the next page. */
  #next = null;
  // Numbers the requests: an answer is dropped when a later refresh has begun.
  #refreshes = 0;
  /** @type {string | undefined} What the shown conversations were searched for. */
  #shownSearch;
  /** @type {number | undefined} */
  #timer;

  /**
   * @param {object} options
   * @param {Api} options.api
   * @param {ChatParts} options.parts
   * @param {ElementFactories} options.templates
   * @param {Translations} options.translations
   * @param {string} options.current The id of the conversation in view.
   * @param {(id: string, match?: SearchMatch) => void} options.opened Called when the user chooses a conversation.
   * @param {(action: string, conversation: Conversation) => void} options.chosen Called for an item of a row's menu.
   * @param {UnreadMarks} options.unread
   * @param {ErrorReporter} options.errors
   * @param {AbortSignal} options.signal
   */
  constructor({ api, parts, templates, translations, current, opened, chosen, unread, errors, signal }) {
    this.#api = api;
    this.#parts = parts;
    this.#templates = templates;
    this.#translations = translations;
    this.#current = current;
    this.#opened = opened;
    this.#unread = unread;
    this.#rows = new ConversationRows({ root: api.root, templates, translations, unread });
    this.#menu = new RowMenu({ parts, chosen: (action, id) => chosen(action, this.#find(id)), signal });
    parts.more.addEventListener("click", () => errors.guard(this.#showOlder()), { signal });
    parts.search.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => errors.guard(this.refresh()), SEARCH_DELAY_MILLISECONDS);
    }, { signal });
    parts.conversations.addEventListener("click", (event) => this.#clicked(event), { signal });
  }

  /**
   * Show the newest conversations, as many as were shown before, and return them.
   *
   * @returns {Promise<Conversation[]>}
   */
  async refresh() {
    this.#refreshes += 1;
    const number = this.#refreshes;
    const search = this.#search;
    const page = await this.#fetch(null, search === this.#shownSearch ? this.#shown.length : 0);
    if (number !== this.#refreshes) return [];
    this.#shownSearch = search;
    this.#shown = [];
    this.#add(page);
    this.#parts.none.hidden = page.results.length > 0 || !this.#search;
    // A user without conversations needs neither.
    this.#parts.search.hidden &&= !page.results.length;
    this.#parts.export.hidden &&= !page.results.length;
    return page.results;
  }

  /** The conversations with a live reply. */
  get live() {
    return this.#shown.filter(({ last_status: status }) => status === "streaming").map(({ id }) => id);
  }

  /** How many of all conversations are unread; undefined while the list shows what a search has found. */
  get unreadCount() {
    if (this.#shownSearch) return undefined;
    return this.#shown.filter((conversation) => this.#unread.isUnread(conversation)).length;
  }

  /** Show again which conversations have a live reply, or are unread. */
  updateMarks() {
    for (const link of this.#links()) {
      const conversation = this.#find(link.dataset.id ?? "");
      // An element that was moved has the links of before until its list is loaded.
      if (conversation) this.#rows.mark(link, conversation);
    }
  }

  /**
   * Mark a conversation as the one in view.
   *
   * @param {string} id
   */
  select(id) {
    this.#current = id;
    for (const link of this.#links()) showCurrent(link, id);
  }

  get #search() {
    return this.#parts.search.value.trim();
  }

  #links() {
    return [...this.#parts.conversations.querySelectorAll("a")];
  }

  /** @param {string} id */
  #find(id) {
    return /** @type {Conversation} */ (this.#shown.find((conversation) => conversation.id === id));
  }

  async #showOlder() {
    this.#parts.more.disabled = true;
    const number = this.#refreshes;
    const page = await this.#fetch(this.#next).finally(() => (this.#parts.more.disabled = false));
    if (number !== this.#refreshes) return;
    this.#add(page);
    this.#links().find(({ dataset }) => dataset.id === page.results[0]?.id)?.focus();
  }

  /**
   * @param {string | null} before
   * @param {number} count
   * @returns {Promise<ConversationPage>}
   */
  #fetch(before, count = PAGE_SIZE) {
    const limit = count > PAGE_SIZE && Math.min(count, MAX_PAGE_SIZE);
    const page = { ...(limit && { limit: String(limit) }), ...(before && { before }) };
    // Servers log addresses, so the words of a search are in the body.
    if (this.#search) return this.#api.json("POST", "api/conversations/search", { ...page, search: this.#search });
    return this.#api.get(`api/conversations?${new URLSearchParams(page)}`);
  }

  /** @param {ConversationPage} page */
  #add({ results, next }) {
    this.#next = next;
    this.#parts.more.hidden = !next;
    // A conversation that has moved to the top meanwhile is not shown twice.
    this.#shown.push(...results.filter(({ id }) => !this.#find(id)));
    this.#unread.noteLive(results);
    this.#render();
  }

  /** Show all groups again, and keep the focus on the same conversation. */
  #render() {
    const list = this.#parts.conversations;
    const focused = list.contains(document.activeElement) ? document.activeElement : null;
    list.replaceChildren(...groupByDay(this.#shown, this.#translations, new Date()).map((group) => this.#group(group)));
    if (focused) this.#focus(focused);
  }

  /**
   * Focus what stands in place of the link or the button of a conversation, or else what stands before the list.
   *
   * @param {Element} removed
   */
  #focus(removed) {
    const [kind, id] = removed instanceof HTMLButtonElement ? ["button", removed.value] : ["a", removed.getAttribute("data-id")];
    const row = this.#links().find(({ dataset }) => dataset.id === id)?.parentElement;
    /** @type {HTMLElement} */ (row?.querySelector(String(kind)) ?? this.#parts.new).focus();
  }

  /** @param {import("./day-groups.js").DayGroup} group */
  #group({ label: text, conversations }) {
    const element = this.#templates.group();
    /** @type {GroupParts} */
    const { label, list } = findParts(element);
    label.textContent = text;
    list.setAttribute("aria-label", text);
    list.append(...conversations.map((conversation) => this.#rows.make(conversation, this.#current)));
    return element;
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const target = /** @type {Element} */ (event.target);
    const button = target.closest("button");
    if (button) return this.#menu.open(button);
    const link = target.closest("a");
    if (!link || hasModifier(event)) return;
    event.preventDefault();
    const id = link.dataset.id ?? "";
    this.#opened(id, this.#find(id).match);
  }
}
