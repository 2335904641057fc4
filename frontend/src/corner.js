/** The chat in a corner of the page: a button that opens and closes it. */

/** at: the element's parts. opened(): called at the first opening. storage: remembers, in this tab, that it was open. */
export class Corner {
  constructor({ at, key, opened, signal, storage = sessionStorage }) {
    Object.assign(this, { at, key: `streaming_chat:corner:${key}`, opened, storage });
    at.launcherLink.hidden = true;
    at.launcher.hidden = false;
    at.launcher.addEventListener("click", () => this.toggle(at.frame.hidden), { signal });
    at.close.addEventListener("click", () => this.toggle(false), { signal });
    if (this.#remembered()) this.toggle(true, { focus: false });
  }

  get isOpen() {
    return !this.at.frame.hidden;
  }

  toggle(open, { focus = true } = {}) {
    this.at.frame.hidden = !open;
    this.at.launcher.setAttribute("aria-expanded", String(open));
    this.#remember(open);
    if (open && this.opened) {
      this.opened();
      this.opened = null;
    }
    if (focus) (open ? this.at.text : this.at.launcher).focus();
  }

  #remembered() {
    try {
      return this.storage.getItem(this.key) === "open";
    } catch {
      return false;
    }
  }

  #remember(open) {
    try {
      this.storage.setItem(this.key, open ? "open" : "closed");
    } catch {
      // Without storage it is closed on the next page.
    }
  }
}
