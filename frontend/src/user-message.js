/** One message of the user. Its text is set by textContent only. */

import { canCopy, copyOn } from "./copying.js";
import { Pager } from "./pager.js";
import { parts } from "./parts.js";

/**
 * templates: those of the page. words: its words.
 * on: what its buttons do, {edited(view, text), stepped(view, direction)}.
 */
export class UserMessage {
  constructor({ templates, words, on }, { id = null, parent = null, text, siblings = null }) {
    Object.assign(this, { templates, on, id, parent, text });
    this.element = templates.user();
    this.at = parts(this.element);
    this.at.text.textContent = text;
    this.pager = new Pager(this.element, words, (direction) => on.stepped(this, direction));
    this.at.edit.addEventListener("click", () => this.edit());
    this.at.copy.hidden = !canCopy();
    copyOn(this.at.copy, words, () => this.text);
    if (siblings) this.sent(id, parent, siblings);
  }

  /** It is on the server now. */
  sent(id, parent, siblings) {
    Object.assign(this, { id, parent });
    this.pager.show(siblings);
    this.at.actions.hidden = false;
  }

  /** Put a form in its place, with its text or one that was refused; what it sends is another message beside this one. */
  edit(written = this.text) {
    if (this.element.classList.contains("sc-editing")) return this.element.querySelector("form textarea").focus();
    const form = this.templates.edit();
    const { text, cancel } = parts(form);
    text.value = written;
    const close = () => {
      form.remove();
      this.element.classList.remove("sc-editing");
      this.at.edit.focus();
    };
    const send = (event) => {
      event.preventDefault();
      if (text.value.trim()) this.on.edited(this, text.value);
    };
    form.addEventListener("submit", send);
    cancel.addEventListener("click", close);
    text.addEventListener("keydown", (event) => isSending(event) && send(event));
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      event.stopPropagation();
      close();
    });
    this.element.classList.add("sc-editing");
    this.at.text.after(form);
    text.focus();
    text.setSelectionRange(text.value.length, text.value.length);
  }
}

/** Whether a key is the Enter that sends, and not one that ends a composition or begins a line. */
export function isSending(event) {
  // 229 is what Safari reports for the Enter that ends a composition, when it is no longer one.
  const composing = event.isComposing || event.keyCode === 229;
  return event.key === "Enter" && !event.shiftKey && !composing;
}
