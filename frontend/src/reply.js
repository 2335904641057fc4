/** One reply, live or ended, as the page shows it. What a model writes goes through the Markdown module only. */

import { canCopy, copyOn } from "./copying.js";
import { Facts } from "./facts.js";
import { Judgement } from "./judgement.js";
import { Pager } from "./pager.js";
import { parts } from "./parts.js";
import { Prose } from "./prose.js";

/**
 * templates, words: those of the page. modules: addresses of those that are loaded when they are needed.
 * on: {again(view), stepped(view, direction), judged(view, value, comment), asked(view)}: asked returns the whole message.
 * id: the message's, null until the stream has said it. shownId: the id of the last event that is on the page.
 */
export class Reply {
  constructor({ templates, words, modules, on }) {
    Object.assign(this, { words, on });
    this.element = templates.reply();
    this.at = parts(this.element);
    this.text = new Prose(this.at.text, { words, modules });
    this.reasoning = new Prose(this.at.reasoningText, { words, modules });
    this.pager = new Pager(this.element, words, (direction) => on.stepped(this, direction));
    this.judgement = new Judgement(this.at, (value, comment) => on.judged(this, value, comment));
    this.facts = new Facts(this.at, words, () => on.asked(this));
    this.at.again.addEventListener("click", () => on.again(this));
    copyOn(this.at.copy, words, () => this.shown.text);
    this.id = null;
    this.begin();
  }

  /** Be empty and live. */
  begin(siblings = null) {
    this.received = nothing();
    this.preview = null;
    this.shown = this.received;
    this.siblings = siblings;
    this.reasoned = new Stopwatch();
    this.frozen = false;
    this.element.dataset.status = "streaming";
    this.element.setAttribute("aria-busy", "true");
    this.#close(null);
    this.draw();
  }

  /** Take up a live reply as the API has it; its stream goes on after `lastId`. */
  resume(message) {
    this.id = message.id;
    this.siblings = message.siblings;
    this.received = state(message);
    this.draw();
  }

  get lastId() {
    return this.received.position ? `${this.id}/${this.received.position}` : "";
  }

  get shownId() {
    return `${this.id}/${Math.max(this.shown.position, 1)}`;
  }

  /** Take an event of the stream; it is drawn later. */
  receive({ event, data, id }) {
    if (event === "reset") this.received = nothing();
    this.received.text += data.text ?? "";
    this.received.reasoning += data.reasoning ?? "";
    if (data.tool_call) this.received.tools.push(data.tool_call);
    this.received.position = Number(id.slice(id.lastIndexOf("/") + 1)) || this.received.position;
    if (data.reasoning) this.reasoned.start();
    else if (data.text || data.tool_call) this.reasoned.stop();
  }

  /** Show what the API had of it, as long as the stream has brought less. */
  peek(message) {
    this.preview = state(message);
    this.draw();
  }

  /** Show everything received, unless a stop has frozen what the reader saw. */
  draw() {
    if (this.frozen) return;
    const { received, preview } = this;
    this.shown = { ...(preview && preview.position > received.position ? preview : received) };
    this.#render(false);
  }

  /** Show what has come up to now, whole, and nothing more: this is where a stop ends it. */
  freeze() {
    this.draw();
    this.#render(true);
    this.frozen = true;
  }

  /** Show the reply's ending. ending: {status, error}. */
  end({ status, error = null }) {
    this.frozen = false;
    this.preview = null;
    this.reasoned.stop();
    this.shown = { ...this.received };
    this.element.dataset.status = status;
    this.element.removeAttribute("aria-busy");
    this.#render(true);
    this.#close({ status, error });
  }

  /** Show a message as the API has it. */
  show(message) {
    this.id = message.id;
    this.siblings = message.siblings;
    this.received = state(message);
    if (message.reasoning_ms) this.reasoned.milliseconds = message.reasoning_ms;
    this.judgement.show(message.feedback);
    this.facts.show(message);
    this.end(message);
  }

  #render(ended) {
    const { text, reasoning, tools } = this.shown;
    this.text.draw(text, { ended });
    this.reasoning.draw(reasoning, { ended: ended || Boolean(text) });
    this.at.reasoning.hidden = !reasoning;
    this.at.reasoningSummary.textContent = this.#reasoningWords(text);
    this.at.tools.hidden = !tools.length;
    if (this.at.tools.childElementCount !== tools.length) this.at.tools.replaceChildren(...tools.map(toolCall));
    this.at.waiting.hidden = this.element.dataset.status !== "streaming" || Boolean(text);
  }

  #reasoningWords(text) {
    const { milliseconds } = this.reasoned;
    if (milliseconds) return this.words.say("reasoned", { seconds: this.words.seconds(milliseconds) });
    return this.words.say(this.element.dataset.status === "streaming" && !text ? "reasoning_now" : "reasoning");
  }

  /** Show what can be done with an ended reply; null: nothing yet. */
  #close(ending) {
    this.at.actions.hidden = !ending;
    this.at.outcome.hidden = !ending || ending.status === "completed";
    this.at.outcome.textContent = ending ? this.#outcome(ending) : "";
    const { text, tools } = this.shown;
    this.at.copy.hidden = !text || !canCopy();
    // Nothing has come that could be judged.
    this.at.good.hidden = this.at.bad.hidden = !text && !tools.length;
    if (!ending) return this.judgement.close();
    const again = { failed: "retry", interrupted: "continue" }[ending.status] ?? "regenerate";
    this.at.againText.textContent = this.words.say(again);
    this.pager.show(this.siblings ?? { index: 1, count: 1 });
  }

  #outcome({ status, error }) {
    return error?.message ?? this.words.say(status);
  }
}

/** How long something took, in milliseconds; 0 while it is going on or has not begun. */
class Stopwatch {
  #started = 0;
  milliseconds = 0;

  start() {
    this.#started ||= performance.now();
  }

  stop() {
    if (this.#started && !this.milliseconds) this.milliseconds = performance.now() - this.#started;
  }
}

function nothing() {
  return { text: "", reasoning: "", tools: [], position: 0 };
}

/** Return what the API says of a message, as a stream would have brought it. */
function state(message) {
  const ofKind = (kind) => (message.parts ?? []).filter((part) => part.kind === kind);
  const reasoning = ofKind("reasoning").map((part) => part.text).join("");
  return { text: message.text, reasoning, tools: ofKind("tool_call"), position: message.position };
}

function toolCall({ name, arguments: given }) {
  const item = document.createElement("li");
  const details = document.createElement("details");
  const summary = Object.assign(document.createElement("summary"), { textContent: name });
  const code = Object.assign(document.createElement("pre"), { textContent: given, dir: "ltr", tabIndex: 0 });
  details.append(summary, code);
  item.append(details);
  return item;
}
