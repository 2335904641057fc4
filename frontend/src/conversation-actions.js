/** Renaming the conversation in view, deleting it, and restoring it within a minute. */

/**
 * @import { Chat } from "./chat.js"
 * @import { Conversation } from "./types"
 */

export class ConversationActions {
  #chat;

  /** @param {Chat} chat */
  constructor(chat) {
    const { errors, parts, signal } = chat;
    this.#chat = chat;
    parts.rename.addEventListener("click", () => this.#openDialog(), { signal });
    parts.renameCancel.addEventListener("click", () => parts.renameDialog.close("no"), { signal });
    parts.renameDialog.addEventListener("close", () => this.#dialogClosed(), { signal });
    parts.remove.addEventListener("click", () => errors.guard(this.#remove()), { signal });
  }

  #openDialog() {
    const { renameDialog, newTitle, title } = this.#chat.parts;
    newTitle.value = title.textContent;
    // The last answer would still be there when Escape closes the dialog.
    renameDialog.returnValue = "";
    renameDialog.showModal();
    newTitle.select();
  }

  #dialogClosed() {
    const { errors, parts } = this.#chat;
    if (parts.renameDialog.returnValue === "yes") errors.guard(this.#rename(parts.newTitle.value.trim()));
  }

  /** @param {string} title */
  async #rename(title) {
    const { api, conversation, view } = this.#chat;
    if (!title || !conversation) return;
    /** @type {Conversation} */
    const renamed = await api.json("PATCH", `api/conversations/${conversation}`, { title });
    if (renamed.id === this.#chat.conversation) view.setTitle(renamed);
    await this.#chat.refreshList();
  }

  async #remove() {
    const { api, conversation, errors, notices, tabs } = this.#chat;
    await api.json("DELETE", `api/conversations/${conversation}`);
    tabs.notify(conversation);
    if (conversation === this.#chat.conversation) await this.#chat.visit("");
    await this.#chat.refreshList();
    notices.offerUndo(() => errors.guard(this.#restore(conversation)));
  }

  /** @param {string} id */
  async #restore(id) {
    const { api, tabs } = this.#chat;
    await api.json("POST", `api/conversations/${id}/restore`, {});
    tabs.notify(id);
    await this.#chat.visit(id);
    await this.#chat.refreshList();
  }
}
