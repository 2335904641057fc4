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
    const before = { top: 0 };
    const chosen = await this.#turn(
      (tree) => sibling(tree, from.id, direction),
      () => (before.top = from.pager.top),
    );
    if (chosen) this.#show(chosen.id, direction, before.top);
  }

  /**
   * Go to the branch of a message.
   *
   * @param {string} id
   */
  async open(id) {
    await this.#turn((tree) => tree.find((message) => message.id === id));
  }

  /**
   * Show the branch of the message that is chosen from the tree. Returns the message; undefined if another branch is shown meanwhile.
   *
   * @param {(tree: Message[]) => Message | undefined} choose
   * @param {() => void} beforeShown
   */
  async #turn(choose, beforeShown = () => {}) {
    const { api, conversation, isBusy, tabs, view } = this.#chat;
    if (isBusy) return undefined;
    const hasChanged = view.watchForChanges();
    /** @type {{results: Message[]}} */
    const { results } = await api.get(`api/conversations/${conversation}/messages`);
    const chosen = choose(results);
    if (!chosen || hasChanged()) return undefined;
    await api.json("PATCH", `api/conversations/${conversation}`, { head: lastDescendant(results, chosen).id });
    if (hasChanged()) return undefined;
    tabs.notify(conversation);
    beforeShown();
    await view.reload();
    return chosen;
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
