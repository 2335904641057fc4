/** Shows another version of a message, with the messages that followed it. */

/**
 * @import { Chat } from "./chat.js"
 * @import { MessageView } from "./message-list.js"
 * @import { Direction } from "./pager.js"
 * @import { Conversation, Message } from "./types"
 */

export class BranchSwitcher {
  #chat;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  /**
   * Go to the next or previous version of a message.
   *
   * @param {MessageView} from
   * @param {Direction} direction
   */
  async step(from, direction) {
    const { api, isBusy, view } = this.#chat;
    if (isBusy) return;
    const hasChanged = view.watchForChanges();
    // Another tab may have added versions since.
    /** @type {Message} */
    const { siblings } = await api.get(`api/messages/${from.id}`);
    const chosen = direction < 0 ? siblings.previous : siblings.next;
    if (!chosen || hasChanged()) return;
    const before = { top: 0 };
    const isShown = await this.#open(chosen, () => (before.top = from.pager.top));
    if (isShown) this.#show(chosen, direction, before.top);
  }

  /**
   * Go to the branch of a message, unless it is on the one in view.
   *
   * @param {string} id
   */
  async open(id) {
    if (!this.#chat.isBusy) await this.#open(id);
  }

  /**
   * Show the newest branch with a message. Returns whether another branch is shown, which it is not if the user has turned to
   * something else meanwhile.
   *
   * @param {string} id
   * @param {() => void} beforeShown
   */
  async #open(id, beforeShown = () => {}) {
    const { api, conversation, messages, tabs, view } = this.#chat;
    const hasChanged = view.watchForChanges();
    /** @type {Conversation} */
    const { head } = await api.json("PATCH", `api/conversations/${conversation}?limit=1`, { branch: id });
    if (hasChanged() || head === messages.last?.id) return false;
    tabs.notify(conversation);
    beforeShown();
    await view.reload();
    return true;
  }

  /**
   * Put the pager of the version in view where it was pressed, so that the next press needs no other place.
   *
   * @param {string} id
   * @param {Direction} direction
   * @param {number} top
   */
  #show(id, direction, top) {
    const shown = this.#chat.messages.find(id);
    if (!shown) return;
    this.#chat.parts.scroll.scrollTop += shown.pager.top - top;
    shown.pager.focus(direction);
  }
}
