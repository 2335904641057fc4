/** Shows another version of a message, with the messages that followed it. */

/**
 * @import { Chat } from "./chat.js"
 * @import { MessageView } from "./message-list.js"
 * @import { Direction } from "./pager.js"
 * @import { Message } from "./types"
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
    const { api, conversation, isBusy, tabs, view } = this.#chat;
    if (isBusy) return;
    const hasChanged = view.watchForChanges();
    const { results } = await api.get(`api/conversations/${conversation}/messages`);
    if (hasChanged()) return;
    const chosen = sibling(results, from.id, direction);
    await api.json("PATCH", `api/conversations/${conversation}`, { head: lastDescendant(results, chosen).id });
    if (hasChanged()) return;
    tabs.notify(conversation);
    const { top } = from.pager;
    await view.reload();
    this.#show(chosen.id, direction, top);
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

/**
 * Return the version of a message that comes before or after it.
 *
 * @param {Message[]} tree All messages of the conversation, oldest first.
 * @param {string | null} id
 * @param {Direction} direction
 */
export function sibling(tree, id, direction) {
  const { parent, role } = /** @type {Message} */ (tree.find((message) => message.id === id));
  const siblings = tree.filter((message) => message.parent === parent && message.role === role);
  return siblings[siblings.findIndex((message) => message.id === id) + direction];
}

/**
 * Return the end of the branch below a message: at each fork, the newest message.
 *
 * @param {Message[]} tree All messages of the conversation, oldest first.
 * @param {Message} message
 */
export function lastDescendant(tree, message) {
  let last = message;
  for (;;) {
    const child = tree.findLast(({ parent }) => parent === last.id);
    if (!child) return last;
    last = child;
  }
}
