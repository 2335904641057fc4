/**
 * Which conversation is in view, and where that is written down: in the page's address for a chat that is the page, else
 * in this tab's storage, so that it is there again on the site's next page.
 */

export class Place {
  /** moved(id): called when the browser's back and forward lead to another conversation. */
  constructor({ element, root, scope, signal, moved, storage = sessionStorage }) {
    Object.assign(this, { element, root, storage, key: `streaming_chat:open:${scope}` });
    this.isPage = element.getAttribute("layout") === "page";
    this.conversation = element.getAttribute("conversation") || (this.isPage ? "" : this.#remembered());
    if (!this.isPage) return;
    addEventListener("popstate", () => {
      // A link to a place in the page is no move.
      if (this.#addressed() === this.conversation) return;
      this.#be(this.#addressed());
      moved(this.conversation);
    }, { signal });
    addEventListener("resize", () => this.fit(), { signal });
  }

  /** Be at this conversation from now on, "" for a new chat. */
  go(conversation) {
    this.#be(conversation);
    if (this.isPage) history.pushState(null, "", conversation ? `${this.root}c/${conversation}` : this.root);
    else this.#remember(conversation);
  }

  /** Whether a key that was pressed there is meant for this chat. */
  owns(target) {
    if (this.element.contains(target)) return true;
    return this.isPage && !target.closest?.("streaming-chat, dialog, input, textarea, select");
  }

  /** Name the page, if the chat is the page. */
  name(title) {
    if (this.isPage) document.title = title;
  }

  /** Fill the window below whatever the site has above the chat. */
  fit() {
    if (!this.isPage) return;
    const top = this.element.getBoundingClientRect().top + scrollY;
    this.element.style.setProperty("--sc-top", `${Math.round(top)}px`);
  }

  #be(conversation) {
    this.conversation = conversation;
    this.element.setAttribute("conversation", conversation);
  }

  #addressed() {
    const start = `${new URL(this.root, location).pathname}c/`;
    return location.pathname.startsWith(start) ? location.pathname.slice(start.length) : "";
  }

  #remembered() {
    try {
      return this.storage.getItem(this.key) ?? "";
    } catch {
      return "";
    }
  }

  #remember(conversation) {
    try {
      this.storage.setItem(this.key, conversation);
    } catch {
      // Without storage the site's next page begins a new chat.
    }
  }
}
