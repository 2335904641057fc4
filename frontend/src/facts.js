/** What a reply was: model, tokens, times, cost. Asked for when someone wants to see it. */

export class Facts {
  /** at: the reply's parts. asked(): returns the message as the API has it. */
  constructor(at, words, asked) {
    this.at = at;
    this.words = words;
    this.message = null;
    at.facts.addEventListener("toggle", async () => {
      if (at.facts.open && !this.message) this.show(await asked());
      // Below the last reply it would be where nobody looks.
      if (at.facts.open) at.factsList.scrollIntoView({ block: "nearest" });
    });
    at.facts.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !at.facts.open) return;
      event.stopPropagation();
      at.facts.open = false;
      at.facts.querySelector("summary").focus();
    });
  }

  show(message) {
    this.message = message;
    // What is open would be another reply's.
    if (!message) this.at.facts.open = false;
    if (!message) return;
    const rows = this.#rows(message).filter(([, value]) => value !== null);
    this.at.factsList.replaceChildren(...rows.flatMap(([name, value]) => [this.#item("dt", this.words.say(name)), this.#item("dd", value)]));
  }

  #rows({ model, usage, first_event_ms: first, duration_ms: duration, cost, created_at: created }) {
    const count = (value) => (value == null ? null : this.words.number(value) + (usage.estimated ? " ≈" : ""));
    return [
      ["model", model],
      ["time", new Intl.DateTimeFormat(this.words.lang, { dateStyle: "medium", timeStyle: "short" }).format(new Date(created))],
      ["input_tokens", usage && count(usage.input_tokens)],
      ["output_tokens", usage && count(usage.output_tokens)],
      ["reasoning_tokens", usage && (usage.reasoning_tokens ? count(usage.reasoning_tokens) : null)],
      ["first_event", first == null ? null : this.words.seconds(first)],
      ["duration", duration == null ? null : this.words.seconds(duration)],
      ["cost", cost],
    ];
  }

  /** A value has a direction of its own, and stands where the page's do. */
  #item(tag, text) {
    const item = document.createElement(tag);
    item.append(Object.assign(document.createElement("bdi"), { textContent: text }));
    return item;
  }
}
