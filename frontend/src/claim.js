/** After signing in: whether to keep the chats from before. */

/** at: the element's parts. guard(promise): shows its error. kept(): called when they are kept. left(): takes the keyboard. */
export class Claim {
  constructor({ api, at, words, guard, kept, left, signal }) {
    Object.assign(this, { api, at, words, kept, left });
    at.claimKeep.addEventListener("click", () => guard(this.#answer("POST")), { signal });
    at.claimDrop.addEventListener("click", () => guard(this.#answer("DELETE")), { signal });
  }

  /** Ask, if there is anything to keep. */
  async offer() {
    const { conversations, titles } = await this.api.get("api/claim");
    if (!conversations) return;
    this.at.claimText.textContent = this.words.say("claim", { titles: titles.map((title) => `“${title}”`).join(", ") });
    this.at.claim.hidden = false;
  }

  async #answer(method) {
    await this.api.json(method, "api/claim", method === "POST" ? {} : undefined);
    this.at.claim.hidden = true;
    this.left();
    if (method === "POST") await this.kept();
  }
}
