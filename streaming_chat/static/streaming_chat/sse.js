/**
 * Server-Sent Events: text in, events out. No I/O.
 *
 * Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */

// A CR at the end of what is here may be half of a CRLF.
const LINE_BREAK = /\r\n|\n|\r(?!$)/;

/** Splits a stream, however it is cut into pieces. */
export class Splitter {
  #rest = "";
  #event = "";
  #data = [];
  #id = "";

  /** Return the events that this text completes, as {event, data, id}; id is the last one seen, "" for none. */
  feed(text) {
    const lines = (this.#rest + text).split(LINE_BREAK);
    this.#rest = lines.pop();
    return lines.map((line) => this.#line(line)).filter(Boolean);
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const name = colon < 0 ? line : line.slice(0, colon);
    this.#field(name, colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, ""));
    return null;
  }

  #field(name, value) {
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
  }

  #dispatch() {
    const found = this.#data.length
      ? { event: this.#event || "message", data: this.#data.join("\n"), id: this.#id }
      : null;
    this.#event = "";
    this.#data = [];
    return found;
  }
}
