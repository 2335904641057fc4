/** The list of conversations in the sidebar: newest first, older ones on request, and search. */

import { hasModifier } from "./keys.js";
import { findParts } from "./parts.js";

/**
 * @import { Api } from "./api.js"
 * @import { ErrorReporter } from "./error-reporter.js"
 * @import { Translations } from "./translations.js"
 * @import { ChatParts, Conversation, ConversationPage, ElementFactories } from "./types"
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
   * @param {(id: string) => void} options.opened Called when the user chooses a conversation.
   * @param {ErrorReporter} options.errors
   * @param {AbortSignal} options.signal
   */
  constructor({ api, parts, templates, translations, current, opened, errors, signal }) {
    this.#api = api;
    this.#parts = parts;
    this.#templates = templates;
    this.#translations = translations;
    this.#current = current;
    this.#opened = opened;
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
    const list = this.#parts.conversations;
    const page = await this.#fetch(null, search === this.#shownSearch ? list.childElementCount : 0);
    if (number !== this.#refreshes) return [];
    this.#shownSearch = search;
    const focused = list.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
    list.replaceChildren(...this.#items(page));
    if (focused) this.#focus(focused.dataset.id);
    this.#parts.none.hidden = page.results.length > 0 || !this.#search;
    // A user without conversations needs no search.
    this.#parts.search.hidden &&= !page.results.length;
    return page.results;
  }

  /**
   * Mark a conversation as the one in view.
   *
   * @param {string} id
   */
  select(id) {
    this.#current = id;
    for (const link of this.#links()) this.#mark(link);
  }

  get #search() {
    return this.#parts.search.value.trim();
  }

  #links() {
    return [...this.#parts.conversations.querySelectorAll("a")];
  }

  /**
   * Focus the link of a conversation; when it is no longer shown, what stands before the list.
   *
   * @param {string | undefined} id
   */
  #focus(id) {
    const link = this.#links().find(({ dataset }) => dataset.id === id);
    (link ?? this.#parts.new).focus();
  }

  async #showOlder() {
    this.#parts.more.disabled = true;
    const number = this.#refreshes;
    const page = await this.#fetch(this.#next).finally(() => (this.#parts.more.disabled = false));
    if (number !== this.#refreshes) return;
    const items = this.#items(page);
    this.#parts.conversations.append(...items);
    items[0]?.querySelector("a")?.focus();
  }

  /**
   * @param {string | null} before
   * @param {number} count
   * @returns {Promise<ConversationPage>}
   */
  #fetch(before, count = PAGE_SIZE) {
    const query = new URLSearchParams();
    if (count > PAGE_SIZE) query.set("limit", String(Math.min(count, MAX_PAGE_SIZE)));
    if (before) query.set("before", before);
    if (this.#search) query.set("search", this.#search);
    return this.#api.get(`api/conversations?${query}`);
  }

  /** @param {ConversationPage} page */
  #items({ results, next }) {
    this.#next = next;
    this.#parts.more.hidden = !next;
    return results.map((conversation) => this.#item(conversation));
  }

  /** @param {Conversation} conversation */
  #item({ id, title, last_activity: lastActivity, last_status: status }) {
    const item = this.#templates.conversation();
    const link = /** @type {HTMLAnchorElement} */ (item.querySelector("a"));
    /** @type {{name: HTMLElement, time: HTMLTimeElement}} */
    const { name, time } = findParts(item);
    link.href = `${this.#api.root}c/${id}`;
    link.dataset.id = id;
    link.dataset.status = String(status);
    name.textContent = title || this.#translations.say("untitled");
    time.dateTime = lastActivity;
    time.textContent = this.#translations.shortDate(new Date(lastActivity));
    this.#mark(link);
    return item;
  }

  /** @param {HTMLAnchorElement} link */
  #mark(link) {
    if (link.dataset.id === this.#current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const link = /** @type {Element} */ (event.target).closest("a");
    if (!link || hasModifier(event)) return;
    event.preventDefault();
    this.#opened(link.dataset.id ?? "");
  }
}
