/** The messages in view, from the first to the last of the branch: the newest page of them, earlier ones on request. */

/**
 * @import { Reply } from "./reply.js"
 * @import { UserMessage } from "./user-message.js"
 * @import { ChatParts, EarlierPage, Message } from "./types"
 */

/** @typedef {Reply | UserMessage} MessageView */

// The buttons that lead to another branch.
const BRANCHING = "[data-part=again], [data-part=again-menu], [data-part=continue], [data-part=edit], [data-part=previous], [data-part=next]";

export class MessageList {
  #parts;
  #makeView;
  #fetchBefore;
  /** @type {string | null} The message before which there are more, null if all are shown. */
  #earlier = null;
  #isLocked = false;
  /** @type {MessageView[]} */
  views = [];

  /**
   * @param {object} options
   * @param {ChatParts} options.parts
   * @param {(message: Message) => MessageView} options.makeView
   * @param {(before: string) => Promise<EarlierPage | undefined>} options.fetchBefore Returns undefined after an error.
   * @param {AbortSignal} options.signal
   */
  constructor({ parts, makeView, fetchBefore, signal }) {
    this.#parts = parts;
    this.#makeView = makeView;
    this.#fetchBefore = fetchBefore;
    parts.earlier.addEventListener("click", () => this.#showEarlier(), { signal });
    parts.messages.addEventListener("click", ignoreDisabled, { capture: true, signal });
  }

  get isEmpty() {
    return !this.views.length;
  }

  get last() {
    return this.views.at(-1);
  }

  /** @param {string} id */
  find(id) {
    return this.views.find((view) => view.id === id);
  }

  /**
   * Return a message of the branch, and show it if it is an earlier one; undefined if it is on another branch.
   *
   * @param {string} id
   */
  async reveal(id) {
    while (!this.find(id) && (await this.#showEarlier()));
    return this.find(id);
  }

  /**
   * Return the message after this one, undefined for the last.
   *
   * @param {MessageView} view
   */
  after(view) {
    return this.views[this.views.indexOf(view) + 1];
  }

  /**
   * Show these messages in place of the present ones.
   *
   * @param {Message[]} messages
   * @param {string | null} earlier The message before which there are more, null if there are none.
   */
  show(messages, earlier) {
    this.views = [];
    this.#parts.messages.replaceChildren();
    this.#prepend(messages, earlier);
  }

  /**
   * @template {MessageView} T
   * @param {T} view
   */
  add(view) {
    this.views.push(view);
    this.#parts.messages.append(view.element);
    return view;
  }

  /**
   * Remove this message and all after it.
   *
   * @param {MessageView} view
   */
  removeFrom(view) {
    for (const removed of this.views.splice(this.views.indexOf(view))) removed.element.remove();
  }

  /**
   * Disable the buttons that lead to another branch, while a reply is being written. They stay in place and keep the focus.
   *
   * @param {boolean} isLocked
   */
  lock(isLocked) {
    this.#isLocked = isLocked;
    for (const button of this.#parts.messages.querySelectorAll(BRANCHING)) button.setAttribute("aria-disabled", String(isLocked));
  }

  /**
   * @param {Message[]} messages
   * @param {string | null} earlier
   */
  #prepend(messages, earlier) {
    const views = messages.map((message) => this.#makeView(message));
    this.views.unshift(...views);
    this.#parts.messages.prepend(...views.map((view) => view.element));
    this.#earlier = earlier;
    this.#parts.earlier.hidden = earlier === null;
    this.lock(this.#isLocked);
  }

  /** Show one more page, and keep what the user reads where it is. Returns whether there was one. */
  async #showEarlier() {
    const before = this.#earlier;
    const page = before && (await this.#fetchBefore(before));
    // Other messages are shown by now, or this page is: the user has pressed twice.
    if (!page || this.#earlier !== before) return false;
    const { scroll, earlier } = this.#parts;
    const below = scroll.scrollHeight - scroll.scrollTop;
    const hadFocus = document.activeElement === earlier;
    this.#prepend(page.results, page.earlier);
    scroll.scrollTop = scroll.scrollHeight - below;
    if (hadFocus && earlier.hidden) this.#focusFirst();
    return true;
  }

  /** The button that had the focus is hidden now. */
  #focusFirst() {
    const [{ element }] = this.views;
    element.tabIndex = -1;
    element.focus({ preventScroll: true });
  }
}

/** @param {MouseEvent} event */
function ignoreDisabled(event) {
  if (/** @type {Element} */ (event.target).closest("[aria-disabled=true]")) event.stopPropagation();
}
