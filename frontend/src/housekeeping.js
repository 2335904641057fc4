/** The conversation in view is renamed, deleted, or brought back within a minute. */

export class Housekeeping {
  /**
   * conversation(): the id of the one in view. notices: where a deletion can be taken back. guard(promise): shows its error.
   * on: told when the server has done it, {renamed(conversation), removed(id), restored(id)}; promises.
   */
  constructor({ api, at, notices, conversation, guard, on, signal }) {
    Object.assign(this, { api, at, notices, conversation, guard, on });
    at.rename.addEventListener("click", () => this.#ask(), { signal });
    at.renameCancel.addEventListener("click", () => at.renameDialog.close("no"), { signal });
    at.renameDialog.addEventListener("close", () => at.renameDialog.returnValue === "yes" && guard(this.#rename()), { signal });
    at.remove.addEventListener("click", () => guard(this.#remove()), { signal });
  }

  #ask() {
    const { renameDialog, newTitle } = this.at;
    newTitle.value = this.at.title.textContent;
    // What was answered before is no answer to this.
    renameDialog.returnValue = "";
    renameDialog.showModal();
    newTitle.select();
  }

  async #rename() {
    const title = this.at.newTitle.value.trim();
    const id = this.conversation();
    if (title && id) await this.on.renamed(await this.api.json("PATCH", `api/conversations/${id}`, { title }));
  }

  async #remove() {
    const id = this.conversation();
    await this.api.json("DELETE", `api/conversations/${id}`);
    await this.on.removed(id);
    this.notices.deleted(() => this.guard(this.#restore(id)));
  }

  async #restore(id) {
    await this.api.json("POST", `api/conversations/${id}/restore`, {});
    await this.on.restored(id);
  }
}
