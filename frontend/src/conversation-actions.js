/** Renaming a conversation, exporting it, sharing it, deleting it, and restoring it within a minute. */

import { ShareDialog } from "./share-dialog.js";

/**
 * @import { Chat } from "./chat.js"
 * @import { Conversation } from "./types"
 */

export class ConversationActions {
  #chat;
  /** The id of the conversation that the dialog renames. */
  #renamed = "";
  /** @type {ShareDialog | null} Null for a user who may not share. */
  #shareDialog;

  /** @param {Chat} chat */
  constructor(chat) {
    const { errors, parts, signal } = chat;
    this.#chat = chat;
    this.#shareDialog = parts.shareDialog ? new ShareDialog(chat) : null;
    parts.rename.addEventListener("click", () => this.#openDialog(chat.conversation, parts.title.textContent), { signal });
    parts.renameCancel.addEventListener("click", () => parts.renameDialog.close("no"), { signal });
    parts.renameDialog.addEventListener("close", () => this.#dialogClosed(), { signal });
    parts.remove.addEventListener("click", () => errors.guard(this.#remove(chat.conversation)), { signal });
  }

  /**
   * Do what was chosen in the menu of a row.
   *
   * @param {string} action
   * @param {Conversation} conversation
   */
  choose(action, { id, title }) {
    if (action === "rename") this.#openDialog(id, title);
    else if (action === "remove") this.#chat.errors.guard(this.#remove(id));
    else if (action === "share" && this.#shareDialog) this.#chat.errors.guard(this.#shareDialog.open(id));
    else if (action.startsWith("export-")) this.#download(id, action.slice("export-".length));
  }

  /**
   * @param {string} id
   * @param {string} format
   */
  #download(id, format) {
    // With `download`, the browser reports an error in its list of downloads, and this page stays.
    const link = Object.assign(document.createElement("a"), { href: `${this.#chat.api.root}api/conversations/${id}/export?format=${format}`, download: "" });
    link.click();
  }

  /**
   * @param {string} id
   * @param {string} title
   */
  #openDialog(id, title) {
    const { renameDialog, newTitle } = this.#chat.parts;
    this.#renamed = id;
    newTitle.value = title;
    // The last answer would still be there when Escape closes the dialog.
    renameDialog.returnValue = "";
    renameDialog.showModal();
    newTitle.select();
  }

  #dialogClosed() {
    const { errors, parts } = this.#chat;
    if (parts.renameDialog.returnValue === "yes") errors.guard(this.#rename(this.#renamed, parts.newTitle.value.trim()));
  }

  /**
   * @param {string} id
   * @param {string} title
   */
  async #rename(id, title) {
    const { api, tabs, view } = this.#chat;
    if (!title || !id) return;
    /** @type {Conversation} */
    const renamed = await api.json("PATCH", `api/conversations/${id}`, { title });
    if (id === this.#chat.conversation) view.setTitle(renamed);
    tabs.notifyOfList();
    await this.#chat.refreshList();
  }

  /** @param {string} id */
  async #remove(id) {
    const { api, errors, notices, tabs } = this.#chat;
    await api.json("DELETE", `api/conversations/${id}`);
    tabs.notify(id);
    if (id === this.#chat.conversation) await this.#chat.visit("");
    await this.#chat.refreshList();
    notices.offerUndo(() => errors.guard(this.#restore(id)));
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
