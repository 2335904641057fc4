/** The dialog that shares a conversation by a link: makes the link, shows it once, and revokes it. */

import { makeCopyButton } from "./copy-button.js";

/**
 * @import { Chat } from "./chat.js"
 * @import { ShareState } from "./types"
 */

export class ShareDialog {
  #chat;
  /** The id of the conversation that the dialog shares. */
  #conversation = "";

  /** @param {Chat} chat Of a user who may share, for whom the server renders the dialog. */
  constructor(chat) {
    const { parts, signal, translations } = chat;
    this.#chat = chat;
    parts.shareMake.addEventListener("click", () => this.#guard(this.#make()), { signal });
    parts.shareRevoke.addEventListener("click", () => this.#guard(this.#revoke()), { signal });
    parts.shareClose.addEventListener("click", () => parts.shareDialog.close(), { signal });
    parts.shareLink.addEventListener("focus", () => parts.shareLink.select(), { signal });
    makeCopyButton(parts.shareCopy, translations, () => parts.shareLink.value);
  }

  /** @param {string} id */
  async open(id) {
    const { api, parts } = this.#chat;
    this.#conversation = id;
    const state = await api.get(this.#path);
    this.#show(state, "share_since");
    parts.shareDialog.showModal();
  }

  get #path() {
    return `api/conversations/${this.#conversation}/share`;
  }

  async #make() {
    const { api, parts } = this.#chat;
    const state = await api.json("POST", this.#path, {});
    this.#show(state, "share_made");
    parts.shareLink.focus();
  }

  async #revoke() {
    const { api, parts } = this.#chat;
    await api.json("DELETE", this.#path);
    this.#show({ shared_at: null }, "", "share_revoked");
    parts.shareMake.focus();
  }

  /**
   * @param {ShareState} state
   * @param {string} shared The name of the text for a conversation that is shared.
   * @param {string} notShared The name of the text for one that is not.
   */
  #show({ url = "", shared_at: sharedAt }, shared, notShared = "share_not") {
    const { parts, translations } = this.#chat;
    const date = sharedAt ? translations.dateAndTime(new Date(sharedAt)) : "";
    parts.shareMade.hidden = !url;
    parts.shareLink.value = url;
    // A second one would replace it before it is copied.
    parts.shareMake.hidden = Boolean(url);
    parts.shareRevoke.hidden = !sharedAt;
    parts.shareState.textContent = translations.say(sharedAt ? shared : notShared, { date });
  }

  /**
   * Report an error where it can be seen: a modal dialog is in front of everything else.
   *
   * @param {Promise<void>} request
   */
  #guard(request) {
    const { errors, parts } = this.#chat;
    errors.guard(request.catch((error) => {
      parts.shareDialog.close();
      throw error;
    }));
  }
}
