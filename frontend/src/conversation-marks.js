/** The marks of conversations with a live reply and of unread ones: in the list, and counted in the title of the tab. */

import { LiveWatch } from "./live-watch.js";
import { Reply } from "./reply.js";
import { UnreadMarks } from "./unread-marks.js";

/** @import { Chat } from "./chat.js" */

export class ConversationMarks {
  #chat;
  #watch;

  /** @param {Chat} chat */
  constructor(chat) {
    const { api, config, signal } = chat;
    const followed = () => (chat.follower.isFollowing ? chat.conversation : "");
    this.#chat = chat;
    this.#watch = new LiveWatch({ api, followed, changed: () => chat.refreshList(), signal });
    this.unread = new UnreadMarks({ scope: config.sharedScope, changed: () => this.#show(), signal });
  }

  /** The list shows what the server has. */
  listChanged() {
    this.#watch.watch(this.#chat.conversationList.live);
    this.update();
  }

  /** Show the marks. The conversation that the user sees is not unread. */
  update() {
    const { conversation, messages } = this.#chat;
    if (this.#isReplySeen) this.unread.noteSeen(conversation, messages.last?.id ?? null);
    this.#show();
  }

  #show() {
    const { conversationList, layout, translations } = this.#chat;
    conversationList.updateMarks();
    const count = conversationList.unreadCount;
    if (count !== undefined) layout.setUnread(count ? translations.number(count) : "");
  }

  /** Whether the user sees a conversation whose last reply has ended. */
  get #isReplySeen() {
    const { conversation, corner, messages } = this.#chat;
    if (!conversation || !(messages.last instanceof Reply) || messages.last.isLive) return false;
    return document.visibilityState === "visible" && corner?.isOpen !== false;
  }
}
