/** The list of conversations at the side: newest first, older ones on request, those with some words by search. */

import { parts } from "./parts.js";

const TYPING_MILLISECONDS = 250;
// What the server gives when it is not asked for more, and at most.
const PAGE = 30;
const LARGEST_PAGE = 100;

/**
 * at: the element's parts. opened(id): shows one in this element. guard(promise): shows the error of what a click began.
 */
export class Conversations {
  constructor({ api, at, templates, words, current, opened, guard, signal }) {
    Object.assign(this, { api, at, templates, words, current, opened });
    this.next = null;
    this.asked = 0;
    at.more.addEventListener("click", () => guard(this.#older()), { signal });
    at.search.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => guard(this.refresh()), TYPING_MILLISECONDS);
    }, { signal });
    at.conversations.addEventListener("click", (event) => this.#clicked(event), { signal });
  }

  /** Show the newest ones, as many as were shown, and return them. An answer that a later question has overtaken is dropped. */
  async refresh() {
    this.asked += 1;
    const { asked, sought } = this;
    const shown = sought === this.found ? this.at.conversations.childElementCount : 0;
    const page = await this.#ask(null, shown);
    if (asked !== this.asked) return [];
    this.found = sought;
    const held = this.at.conversations.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    this.at.conversations.replaceChildren(...this.#items(page));
    if (held) this.#focus(held);
    this.at.none.hidden = page.results.length > 0 || !this.sought;
    this.at.search.hidden &&= !page.results.length;
    return page.results;
  }

  /** Put the keyboard on this one again; where it is gone, before the list. */
  #focus(id) {
    const link = [...this.at.conversations.querySelectorAll("a")].find(({ dataset }) => dataset.id === id);
    (link ?? this.at.new).focus();
  }

  get sought() {
    return this.at.search.value.trim();
  }

  /** Mark this one as the one in view. */
  select(id) {
    this.current = id;
    for (const link of this.at.conversations.querySelectorAll("a")) this.#mark(link);
  }

  async #older() {
    this.at.more.disabled = true;
    const asked = this.asked;
    const page = await this.#ask(this.next).finally(() => (this.at.more.disabled = false));
    if (asked !== this.asked) return;
    const items = this.#items(page);
    this.at.conversations.append(...items);
    items[0]?.querySelector("a").focus();
  }

  #ask(before, count = PAGE) {
    const query = new URLSearchParams();
    if (count > PAGE) query.set("limit", Math.min(count, LARGEST_PAGE));
    if (before) query.set("before", before);
    if (this.sought) query.set("search", this.sought);
    return this.api.get(`api/conversations?${query}`);
  }

  #items({ results, next }) {
    this.next = next;
    this.at.more.hidden = !next;
    return results.map((conversation) => this.#item(conversation));
  }

  #item({ id, title, last_activity: when, last_status: status }) {
    const item = this.templates.conversation();
    const link = item.querySelector("a");
    const { name, time } = parts(item);
    link.href = `${this.api.root}c/${id}`;
    link.dataset.id = id;
    link.dataset.status = status;
    name.textContent = title || this.words.say("untitled");
    time.dateTime = when;
    time.textContent = this.words.brief(new Date(when));
    this.#mark(link);
    return item;
  }

  #mark(link) {
    if (link.dataset.id === this.current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }

  /** Open one here; with a modifier the browser opens it where it is asked to. */
  #clicked(event) {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.opened(link.dataset.id);
  }
}
