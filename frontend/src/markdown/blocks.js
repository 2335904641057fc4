/**
 * A growing text in Markdown as a list of blocks, of which only the last ones can still change. No DOM.
 *
 * A block is finished when the first line of a later one is whole: until then that line could still belong to it, as in
 * "1. a\n\n2", whose last line may become "2. b". At the end the whole text decides, so that nothing depends on how it
 * arrived.
 */

import { close, withoutBareMark } from "./closing.js";
import { outline, read } from "./dialect.js";
import { codeStart, escape, html } from "./html.js";

const FENCE = /^(`{3,}|~{3,})([^\n]*)\n/;

/**
 * html: of one element, or "". raw: the source. open: {start, text} for code whose fence is still open, which only grows.
 */
class Block {
  #html;

  constructor(raw, html, open = null) {
    this.raw = raw;
    this.#html = html;
    this.open = open;
  }

  get html() {
    this.#html ??= `${this.open.start}${escape(this.open.text)}</code></pre>`;
    return this.#html;
  }
}

export class Blocks {
  /** The blocks of the text so far. */
  list = [];
  #image;
  #source = "";
  #finished = 0;
  // Where the first block that is not finished begins in the source.
  #tail = 0;
  #definitions = Object.create(null);
  #fence = null;

  /** image: the words for an image, with {alt} and {address}. */
  constructor(image) {
    this.#image = image;
  }

  /** How many blocks, from the first, will not change any more. */
  get finished() {
    return this.#finished;
  }

  /**
   * Take the text as it is now; return the index of the first block that may differ from before.
   *
   * ended: there will be no more of it.
   */
  update(text, ended) {
    const source = text.replace(/\r\n?/g, "\n");
    if (!source.startsWith(this.#source)) this.#restart();
    this.#source = source;
    const first = this.#finished;
    if (ended) return this.#end();
    if (this.#fence && this.#growFence()) return first;
    this.#read();
    return first;
  }

  #restart() {
    this.list = [];
    this.#finished = this.#tail = 0;
    this.#definitions = Object.create(null);
    this.#fence = null;
  }

  #read() {
    const tail = this.#source.slice(this.#tail);
    const fence = FENCE.exec(tail);
    if (fence && this.#openFence(fence)) return;
    const tokens = read(withoutBareMark(tail), { known: this.#definitions, amend: close });
    const count = finishedTokens(tokens, tail);
    this.#show(tokens);
    if (count) this.#finish(tokens, count, tail);
  }

  #show(tokens) {
    this.list.length = this.#finished;
    for (const token of tokens.filter(isShown)) this.list.push(new Block(token.raw, html(token, this.#image)));
  }

  /** Freeze the blocks of the first tokens. */
  #finish(tokens, count, tail) {
    let length = 0;
    for (const token of tokens.slice(0, count)) {
      // Where the tokens do not say where they came from, the tail stays whole.
      if (!tail.startsWith(token.raw, length)) return;
      length += token.raw.length;
    }
    this.#finished += tokens.slice(0, count).filter(isShown).length;
    this.#tail += length;
    for (const { tag, href, title } of definitions(tokens.slice(0, count))) this.#definitions[tag] ??= { href, title };
    if (count === tokens.length) return;
    const fence = FENCE.exec(this.#source.slice(this.#tail));
    if (fence) this.#openFence(fence);
  }

  #openFence([head, run, language]) {
    const closing = new RegExp(`^ {0,3}${run}${run[0]}* *$`, "m");
    this.#fence = { start: codeStart(language), from: this.#tail + head.length, seen: this.#tail + head.length, closing, mark: run[0] };
    if ((run[0] === "`" && language.includes("`")) || !this.#growFence()) this.#fence = null;
    return this.#fence !== null;
  }

  /** Take more of the code whose fence is open; return whether it is open still. */
  #growFence() {
    const { start, from, seen, closing, mark } = this.#fence;
    if (closing.test(this.#source.slice(seen))) {
      this.#fence = null;
      return false;
    }
    const line = this.#source.lastIndexOf("\n") + 1;
    this.#fence.seen = Math.max(from, line);
    // The closing fence itself may be on its way.
    const end = this.#source.slice(line).trim().replaceAll(mark, "") ? this.#source.length : Math.max(from, line);
    this.list.length = this.#finished;
    this.list.push(new Block("", null, { start, text: this.#source.slice(from, end) }));
    return true;
  }

  #end() {
    this.#fence = null;
    const first = this.#isSettled() ? this.#finished : 0;
    const source = this.#source.slice(first ? this.#tail : 0);
    // Should it go on after all, it is read anew.
    if (!first) this.#restart();
    this.#show(read(source, first ? { known: this.#definitions } : {}));
    return first;
  }

  /** Whether the finished blocks are what the whole text makes of them. */
  #isSettled() {
    const tokens = outline(this.#source);
    if (Object.keys(tokens.links).length) return false;
    const shown = tokens.filter(isShown);
    return this.list.slice(0, this.#finished).every(({ raw }, index) => raw.trimEnd() === shown[index]?.raw.trimEnd());
  }
}

function isShown({ type }) {
  return type !== "space" && type !== "def";
}

/** Return how many of a tail's tokens cannot change any more. */
function finishedTokens(tokens, tail) {
  const last = tokens.findLastIndex(({ type }) => type !== "space");
  if (last < 0) return 0;
  const from = tokens.slice(0, last).reduce((length, { raw }) => length + raw.length, 0);
  const lines = tail.slice(from).split("\n").length - 1;
  if (isClosedFence(tokens[last]) && tail[from + tokens[last].raw.trimEnd().length] === "\n") return last + 1;
  // A table is one only while its second line says so.
  if (lines > (tokens[last].type === "table" ? 1 : 0)) return last;
  return Math.max(0, tokens.slice(0, last).findLastIndex(({ type }) => type !== "space"));
}

function isClosedFence({ type, raw, codeBlockStyle }) {
  if (type !== "code" || codeBlockStyle) return false;
  const [, run] = /^ {0,3}(`{3,}|~{3,})/.exec(raw);
  return new RegExp(`\n {0,3}${run}${run[0]}* *\n?$`).test(raw);
}

function definitions(tokens) {
  return tokens.flatMap((token) => {
    if (token.type === "def") return [token];
    return definitions(token.items ?? (token.type === "blockquote" || token.type === "list_item" ? token.tokens : []));
  });
}
