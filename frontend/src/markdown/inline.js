/** Reads the text of a block as markdown-it does on the server, by the rules of inline-rules.js. No DOM. */

import markup from "../../../streaming_chat/rendering/allowed_html.json" with { type: "json" };

import { spend } from "./budget.js";
import { mark, pair } from "./delimiters.js";
import { escapeText } from "./escaping.js";
import { RULES } from "./inline-rules.js";

/**
 * @import { Delimiter } from "./delimiters.js"
 * @import { Definitions } from "./dialect.js"
 */

/** A piece of the result. plain: what of it is in the description of an image. */
/** @typedef {{html: string, plain: string}} Piece */
/** @typedef {{links: Definitions, image: string}} InlineOptions image: what stands for an image, with {alt} and {address}. */
/**
 * Looks at a position, and returns whether it has read something there. isSilent: it only moves the position, because the end of a
 * link's text is searched.
 *
 * @typedef {(state: Inline, isSilent: boolean) => boolean} Rule
 */

/**
 * Return inline text as HTML.
 *
 * @param {string} text
 * @param {InlineOptions} options
 */
export function inlineHtml(text, options) {
  return new Inline(text.trim(), options).read().map(({ html }) => html).join("");
}

export class Inline {
  position = 0;
  /** How deep in links it is; also counted while the end of a link's text is searched. */
  level = 0;
  linkLevel = 0;
  /** @type {Piece[]} */
  pieces = [];
  #pending = "";
  /** @type {Delimiter[][]} One list for the text, and one for the text of each link. */
  #lists = [[]];
  /** @type {Delimiter[]} */
  #delimiters = this.#lists[0];
  /** @type {Map<number, number>} Where the piece ends that begins at a position. */
  #skipped = new Map();
  /** @type {Map<string, number>} */
  #last = new Map();
  /** @type {Map<number, number> | null} The last position of a run of backticks, by its length. */
  #lastTicks = null;

  /**
   * @param {string} text
   * @param {InlineOptions} options
   */
  constructor(text, options) {
    this.text = text;
    this.end = text.length;
    this.options = options;
  }

  /** Return the pieces of the whole text. */
  read() {
    this.readUntil(this.end);
    for (const list of this.#lists) {
      pair(list);
      mark(list, this.pieces);
    }
    return this.pieces;
  }

  /** @param {number} end */
  readUntil(end) {
    while (this.position < end) {
      spend();
      if (this.level < markup.max_nesting && RULES.some((rule) => rule(this, false))) continue;
      this.addText(this.text[this.position]);
      this.position += 1;
    }
    this.#flush();
  }

  /** Move the position behind the piece that begins at it. */
  skip() {
    const { position } = this;
    const known = this.#skipped.get(position);
    if (known !== undefined) {
      this.position = known;
      return;
    }
    spend();
    this.level += 1;
    if (this.level > markup.max_nesting) this.position = this.end;
    else if (!RULES.some((rule) => rule(this, true))) this.position += 1;
    this.level -= 1;
    this.#skipped.set(position, this.position);
  }

  /** @param {string} text May contain character references. */
  addText(text) {
    this.#pending += text;
  }

  /** Remove the spaces at the end of a line. */
  trimText() {
    this.#pending = this.#pending.replace(/ +$/, "");
  }

  /** @param {string} html */
  add(html, plain = "") {
    this.#flush();
    this.pieces.push({ html, plain });
  }

  /** @param {Omit<Delimiter, "piece" | "end">} delimiter */
  addDelimiter(delimiter, text = delimiter.mark) {
    this.add(text, text);
    this.#delimiters.push({ ...delimiter, piece: this.pieces.length - 1, end: -1 });
  }

  /**
   * Read the text of a link, up to `end`.
   *
   * @param {string} start
   * @param {number} end
   */
  addLink(start, end) {
    const outer = { delimiters: this.#delimiters, end: this.end };
    this.add(start);
    this.#delimiters = [];
    this.#lists.push(this.#delimiters);
    this.end = end;
    this.level += 1;
    this.linkLevel += 1;
    this.readUntil(end);
    this.linkLevel -= 1;
    this.level -= 1;
    this.end = outer.end;
    this.#delimiters = outer.delimiters;
    this.add("</a>");
  }

  /** @param {number} length Of a run of backticks. */
  lastTicks(length) {
    if (!this.#lastTicks) {
      this.#lastTicks = new Map();
      for (const { 0: run, index } of this.text.matchAll(/`+/g)) this.#lastTicks.set(run.length, index);
    }
    return this.#lastTicks.get(length) ?? -1;
  }

  /**
   * Return where in the text a piece of text is for the last time, -1 for nowhere.
   *
   * @param {string} piece
   */
  last(piece) {
    const position = this.#last.get(piece) ?? this.text.lastIndexOf(piece);
    this.#last.set(piece, position);
    return position;
  }

  #flush() {
    if (!this.#pending) return;
    const html = escapeText(this.#pending);
    this.pieces.push({ html, plain: html });
    this.#pending = "";
  }
}
