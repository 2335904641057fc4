/** The messages in view, from the first to the last of the branch: the newest of them, earlier ones on request. */

/**
 * @import { Reply } from "./reply.js"
 * @import { UserMessage } from "./user-message.js"
 * @import { ChatParts, Message } from "./types"
 */

/** @typedef {Reply | UserMessage} MessageView */

// So many are made at once; each costs about 3 ms with its Markdown.
const BATCH_SIZE = 30;
// The buttons that lead to another branch.
const BRANCHING = "[data-part=again], [data-part=continue], [data-part=edit], [data-part=previous], [data-part=next]";

export class MessageList {
  #parts;
  #makeView;
  /** @type {Message[]} Earlier messages that are not shown yet. */
  #hidden = [];
  #isLocked = false;
  /** @type {MessageView[]} */
  views = [];

  /**
   * @param {object} options
   * @param {ChatParts} options.parts
   * @param {(message: Message) => MessageView} options.makeView
   * @param {AbortSignal} options.signal
   */
  constructor({ parts, makeView, signal }) {
    this.#parts = parts;
    this.#makeView = makeView;
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
  reveal(id) {
    while (this.#hidden.some((message) => message.id === id)) this.#showBatch();
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
   */
  show(messages) {
    this.views = [];
    this.#hidden = [...messages];
    this.#parts.messages.replaceChildren();
    this.#showBatch();
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

  #showBatch() {
    const views = this.#hidden.splice(-BATCH_SIZE).map((message) => this.#makeView(message));
    this.views.unshift(...views);
    this.#parts.messages.prepend(...views.map((view) => view.element));
    this.#parts.earlier.hidden = !this.#hidden.length;
    this.lock(this.#isLocked);
    return views;
  }

  /** Show some more, and keep what the user reads where it is. */
  #showEarlier() {
    const { scroll, earlier } = this.#parts;
    const below = scroll.scrollHeight - scroll.scrollTop;
    const [first] = this.#showBatch();
    scroll.scrollTop = scroll.scrollHeight - below;
    if (!earlier.hidden) return;
    // The button that had the focus is hidden now.
    first.element.tabIndex = -1;
    first.element.focus({ preventScroll: true });
  }
}

/** @param {MouseEvent} event */
function ignoreDisabled(event) {
  if (/** @type {Element} */ (event.target).closest("[aria-disabled=true]")) event.stopPropagation();
}
