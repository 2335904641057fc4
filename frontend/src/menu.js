/** The list of conversations where the window is too narrow to have it beside the messages: its button opens it over them. */

export class Menu {
  constructor({ at, signal }) {
    this.at = at;
    at.menu.addEventListener("click", () => this.toggle(!this.isOpen, { focus: true }), { signal });
    at.main.addEventListener("click", ({ target }) => this.isOpen && !at.menu.contains(target) && this.toggle(false), { signal });
  }

  get isOpen() {
    return this.at.frame.classList.contains("sc-open");
  }

  /** focus: whether the keyboard goes along. */
  toggle(open, { focus = false } = {}) {
    this.at.frame.classList.toggle("sc-open", open);
    this.at.menu.setAttribute("aria-expanded", String(open));
    if (focus) (open ? this.at.new : this.at.menu).focus();
  }
}
