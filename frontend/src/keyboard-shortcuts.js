/** Keys with a meaning for the whole chat: Escape, the question mark, and the Up arrow in an empty composer. */

import { UserMessage } from "./user-message.js";

/** @import { Chat } from "./chat.js" */

export class KeyboardShortcuts {
  #chat;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  start() {
    const { parts, signal } = this.#chat;
    document.addEventListener("keydown", (event) => this.#pressed(event), { signal });
    parts.shortcutsButton.addEventListener("click", () => parts.shortcuts.showModal(), { signal });
  }

  /** Edit the user's last message. */
  editLastMessage() {
    const { follower, messages } = this.#chat;
    const last = messages.views.findLast((view) => view instanceof UserMessage && view.id);
    if (last instanceof UserMessage && !follower.isFollowing) last.openForm();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.key === "Escape") this.#escape(event);
    else if (event.key === "?") this.#questionMark(event);
  }

  /**
   * List the shortcuts, unless the key writes a character.
   *
   * @param {KeyboardEvent} event
   */
  #questionMark(event) {
    const { layout, parts } = this.#chat;
    const { target } = event;
    const isWriting = target instanceof Element && target.closest("input, textarea, select, [contenteditable], dialog");
    if (isWriting || hasCommandKey(event) || event.defaultPrevented || !layout.takesKeysOf(target)) return;
    event.preventDefault();
    parts.shortcuts.showModal();
  }

  /**
   * Do one thing: close the sidebar, stop the reply, or close the corner.
   *
   * @param {KeyboardEvent} event
   */
  #escape(event) {
    const { corner, follower, layout, sidebar } = this.#chat;
    if (!this.#isForChat(event)) return;
    if (sidebar.isOpen) sidebar.toggle(false, { moveFocus: true });
    else if (follower.isFollowing) follower.stop();
    else if (layout.takesKeysOf(event.target) && corner?.isOpen) corner.toggle(false);
  }

  /** @param {KeyboardEvent} event */
  #isForChat({ defaultPrevented, isComposing, target }) {
    const { corner, element, layout, parts } = this.#chat;
    if (defaultPrevented || isComposing) return false;
    // In a corner that was open on the last page too, nothing has the focus yet; there Escape may stop a reply.
    if (!layout.takesKeysOf(target) && !(corner?.isOpen && target === document.body)) return false;
    // In the search field Escape clears the text.
    if (target === parts.search && parts.search.value) return false;
    return !element.querySelector("dialog[open], :popover-open");
  }
}

/** @param {KeyboardEvent} event */
function hasCommandKey({ ctrlKey, metaKey, altKey }) {
  return ctrlKey || metaKey || altKey;
}
