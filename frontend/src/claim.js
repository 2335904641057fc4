/** After signing in: whether to keep the chats from before. */

// Characters that set the direction of what follows, also outside the title that they are in.
const DIRECTIONS = /[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/g;

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
    const names = titles.map(isolated);
    if (conversations > titles.length) names.push(`… (${this.words.number(conversations)})`);
    this.at.claimText.textContent = this.words.say("claim", { titles: names.join(", ") });
    this.at.claim.hidden = false;
  }

  async #answer(method) {
    await this.api.json(method, "api/claim", method === "POST" ? {} : undefined);
    this.at.claim.hidden = true;
    this.left();
    if (method === "POST") await this.kept();
  }
}

/** Return a title in quotes, in its own direction: it must not turn the sentence around it. */
function isolated(title) {
  return `\u2068“${title.replace(DIRECTIONS, "")}”\u2069`;
}
