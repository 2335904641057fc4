/** The messages of a conversation as elements. Text is set by textContent only: what a model writes is never markup. */

/** One user message. */
export class UserMessage {
  constructor(template, message) {
    this.element = clone(template);
    this.element.querySelector("[data-text]").textContent = message.text;
    this.id = message.id ?? null;
  }
}

/**
 * One reply, live or ended.
 *
 * texts: the page's words. on: what its buttons do, {regenerate(reply), sibling(reply, step)}.
 * shownId: the id of the last event whose text is on the page; what a stop names as its position.
 */
export class Reply {
  constructor(template, texts, on) {
    this.texts = texts;
    this.element = clone(template);
    this.parts = Object.fromEntries(
      [...this.element.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]),
    );
    this.parts.regenerate.addEventListener("click", () => on.regenerate(this));
    this.parts.previous.addEventListener("click", () => on.sibling(this, -1));
    this.parts.next.addEventListener("click", () => on.sibling(this, 1));
    this.parts.copy.addEventListener("click", () => this.#copy());
    this.id = null;
    this.begin();
  }

  /** Be empty and live. */
  begin() {
    this.received = { text: "", reasoning: "", tools: [] };
    this.receivedId = "";
    this.shownId = "";
    this.frozen = false;
    this.element.dataset.status = "streaming";
    this.element.setAttribute("aria-busy", "true");
    this.#ended(null);
    this.draw();
  }

  /** Take an event of the stream; it is drawn later. */
  receive({ event, data, id }) {
    if (event === "reset") this.received = { text: "", reasoning: "", tools: [] };
    this.received.text += data.text ?? "";
    this.received.reasoning += data.reasoning ?? "";
    if (data.tool_call) this.received.tools.push(data.tool_call);
    this.receivedId = id;
  }

  /** Show everything received, unless a stop has frozen what the reader saw. */
  draw() {
    if (this.frozen) return;
    const { text, reasoning, tools } = this.received;
    append(this.parts.text, text);
    append(this.parts.reasoningText, reasoning);
    this.parts.reasoning.hidden = !reasoning;
    this.parts.tools.replaceChildren(...tools.map((tool) => this.#tool(tool)));
    this.parts.waiting.hidden = this.element.dataset.status !== "streaming" || Boolean(text);
    this.shownId = this.receivedId;
  }

  /** Show the reply's ending. ending: {status, error}; siblings: {index, count}, of all replies to one message. */
  end({ status, error = null }, siblings = null) {
    this.frozen = false;
    this.element.dataset.status = status;
    this.element.removeAttribute("aria-busy");
    this.draw();
    this.#ended({ status, error });
    if (siblings) this.#siblings(siblings);
  }

  /** Show a message as the API has it. */
  show(message) {
    this.id = message.id;
    this.received = {
      text: message.text,
      reasoning: ofKind(message, "reasoning").map((part) => part.text).join(""),
      tools: ofKind(message, "tool_call"),
    };
    this.end(message, message.siblings);
  }

  #ended(ending) {
    this.parts.actions.hidden = !ending;
    this.parts.outcome.hidden = !ending || ending.status === "completed";
    this.parts.outcome.textContent = ending ? this.#outcome(ending) : "";
    this.parts.copy.hidden = !this.received.text || !navigator.clipboard;
    const again = ending && ["failed", "interrupted"].includes(ending.status);
    this.parts.regenerate.textContent = again ? this.texts.retry : this.texts.regenerate;
  }

  #outcome({ status, error }) {
    if (status === "stopped") return this.texts.stopped;
    return error?.message ?? this.texts[status] ?? "";
  }

  #siblings({ index, count }) {
    this.siblings = { index, count };
    this.parts.siblings.hidden = count < 2;
    this.parts.sibling.textContent = `${index}\u00a0/\u00a0${count}`;
    this.parts.previous.disabled = index <= 1;
    this.parts.next.disabled = index >= count;
  }

  #tool(tool) {
    const item = document.createElement("li");
    item.textContent = tool.name;
    return item;
  }

  async #copy() {
    await navigator.clipboard.writeText(this.received.text);
    this.parts.copy.textContent = this.texts.copied;
  }
}

/** Make an element's text this one. What is there already stays: selections in it survive, and layout is cheap. */
function append(element, text) {
  const node = element.firstChild ?? element.appendChild(document.createTextNode(""));
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

function ofKind(message, kind) {
  return (message.parts ?? []).filter((part) => part.kind === kind);
}

function clone(template) {
  return template.content.firstElementChild.cloneNode(true);
}
