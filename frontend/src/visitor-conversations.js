/** After the sign-in: offers to keep the conversations that the user had as a visitor. */

/** @import { Chat } from "./chat.js" */

// Characters that set the direction of the text after them, also outside the title that they are in.
const DIRECTION_MARKS = /[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/g;

export class VisitorConversations {
  #chat;

  /** @param {Chat} chat */
  constructor(chat) {
    const { errors, parts, signal } = chat;
    this.#chat = chat;
    parts.claimKeep.addEventListener("click", () => errors.guard(this.#keep()), { signal });
    parts.claimDrop.addEventListener("click", () => errors.guard(this.#drop()), { signal });
  }

  /** Ask the user, if there are any. */
  async offer() {
    const { api, parts, translations } = this.#chat;
    const { conversations, titles } = await api.get("api/claim");
    if (!conversations) return;
    const names = titles.map(isolated);
    if (conversations > titles.length) names.push(`… (${translations.number(conversations)})`);
    parts.claimText.textContent = translations.say("claim", { titles: names.join(", ") });
    parts.claim.hidden = false;
  }

  async #keep() {
    await this.#chat.api.json("POST", "api/claim", {});
    this.#close();
    const [newest] = await this.#chat.refreshList();
    // Show it, unless the user has gone on already.
    if (newest && !this.#chat.conversation && !this.#chat.composer.text) await this.#chat.visit(newest.id);
  }

  async #drop() {
    await this.#chat.api.json("DELETE", "api/claim");
    this.#close();
  }

  #close() {
    this.#chat.parts.claim.hidden = true;
    this.#chat.composer.focus();
  }
}

/**
 * Return a title in quotes, isolated so that its direction does not change the sentence around it.
 *
 * @param {string} title
 */
function isolated(title) {
  return `\u2068“${title.replace(DIRECTION_MARKS, "")}”\u2069`;
}
