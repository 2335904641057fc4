/** The list of conversations at the page's side: newest first, older ones on request. */

/** guard(promise): shows the error of what a click began. */
export class Conversations {
  constructor({ api, list, more, template, current, untitled, guard }) {
    Object.assign(this, { api, list, more, template, current, untitled });
    this.next = null;
    more.addEventListener("click", () => guard(this.#load(this.next)));
  }

  /** Show the newest ones, and return them. */
  async refresh() {
    const items = await this.#page(null);
    this.list.replaceChildren(...items);
    return this.results;
  }

  /** Mark this one as the one in view. */
  select(id) {
    this.current = id;
    for (const link of this.list.querySelectorAll("a")) this.#mark(link);
  }

  async #load(before) {
    this.more.disabled = true;
    const items = await this.#page(before).finally(() => (this.more.disabled = false));
    this.list.append(...items);
    items[0]?.querySelector("a").focus();
  }

  async #page(before) {
    const query = before ? `?before=${encodeURIComponent(before)}` : "";
    const { results, next } = await this.api.get(`api/conversations${query}`);
    this.next = next;
    this.results = results;
    this.more.hidden = !next;
    return results.map((conversation) => this.#item(conversation));
  }

  #item({ id, title, last_activity: when, last_status: status }) {
    const item = this.template.content.firstElementChild.cloneNode(true);
    const link = item.querySelector("a");
    link.href = `${this.api.root}c/${id}`;
    link.dataset.id = id;
    link.dataset.status = status;
    item.querySelector("[data-title]").textContent = title || this.untitled;
    const time = item.querySelector("time");
    time.dateTime = when;
    time.textContent = brief(new Date(when));
    this.#mark(link);
    return item;
  }

  #mark(link) {
    if (link.dataset.id === this.current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Return the time of today's, the date of others. */
function brief(date) {
  const today = date.toDateString() === new Date().toDateString();
  const format = today ? { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } : { day: "numeric", month: "short" };
  return new Intl.DateTimeFormat(document.documentElement.lang || undefined, format).format(date);
}
