/** The lines of a text while blocks are read from it: where each begins behind the markers around it, and how far it is indented. No DOM. */

import markup from "../../../streaming_chat/rendering/allowed_html.json" with { type: "json" };

import { spend } from "./budget.js";

/** @import { Token } from "./block-rules.js" */

/**
 * @typedef {object} Rules Of all blocks.
 * @property {(state: BlockState, line: number, kind: "text" | "block" | "item", isAfterText: boolean) => boolean} interrupts
 * @property {(state: BlockState, line: number, limit: number) => Token[]} readBlocks
 */

const TAB = 4;

/**
 * What an outer block has left of a line. begin: where it begins in the text, first: where its first character is that is not a space.
 * indent: of that character, in columns, -1 for a line that continues a paragraph without the markers around it. shift: the columns
 * before `begin`, which tabs depend on.
 *
 * @typedef {{begin: number, first: number, end: number, indent: number, shift: number}} Line
 */

export class BlockState {
  /** @type {Line[]} */
  lines = [];
  /** How far the content of the block around is indented. */
  indent = 0;
  /** The indent of the list around, -1 for none. */
  listIndent = -1;
  /** Where the block around ends. */
  limit;
  depth = 0;
  /** Where the block ends that was read last. */
  line = 0;
  /** Whether there was no blank line between the blocks of a list's item. */
  isTight = true;
  /** @type {{src: string} | null} The inline text that was read last, null if something else came after it. */
  lastInline = null;
  /** @type {Map<string, {from: number, found: number}>} */
  #next = new Map();
  #rules;

  /**
   * @param {string} text
   * @param {Rules} rules
   */
  constructor(text, rules) {
    this.text = text;
    this.#rules = rules;
    for (let begin = 0; begin < text.length; ) {
      const found = text.indexOf("\n", begin);
      const end = found < 0 ? text.length : found;
      const { position, column } = this.skipSpace(begin, end, 0, 0);
      this.lines.push({ begin, first: position, end, indent: column, shift: 0 });
      begin = end + 1;
      spend();
    }
    this.limit = this.lines.length;
  }

  /**
   * Return the position of the first character that is neither a space nor a tab, and its column.
   *
   * @param {number} position
   * @param {number} end
   * @param {number} column
   * @param {number} shift
   */
  skipSpace(position, end, column, shift) {
    for (; position < end; position += 1) {
      const character = this.text[position];
      if (character === "\t") column += TAB - ((column + shift) % TAB);
      else if (character === " ") column += 1;
      else break;
    }
    return { position, column };
  }

  /**
   * Return where in the text a piece of text is next, Infinity for nowhere.
   *
   * @param {string} piece
   * @param {number} position
   */
  next(piece, position) {
    const known = this.#next.get(piece);
    if (known && known.from <= position && position <= known.found) return known.found;
    const index = this.text.indexOf(piece, position);
    const found = index < 0 ? Infinity : index;
    this.#next.set(piece, { from: position, found });
    return found;
  }

  /** @param {number} line */
  isBlank(line) {
    const found = this.lines[line];
    return !found || found.first >= found.end;
  }

  /** @param {number} line */
  isCode(line) {
    return this.lines[line].indent - this.indent >= TAB;
  }

  /**
   * Whether another block begins at a line of a text, of another block or of a list's item.
   *
   * @param {number} line
   * @param {"text" | "block" | "item"} kind
   */
  isInterrupted(line, kind, isAfterText = false) {
    return this.#rules.interrupts(this, line, kind, isAfterText);
  }

  /** Whether a block may hold others: they are read by recursion. */
  get mayNest() {
    return this.depth < markup.max_nesting;
  }

  /**
   * Read the blocks of some lines, up to one that is less indented than the block around. `this.line` is where they end.
   *
   * @param {number} line
   * @param {number} limit
   */
  readBlocks(line, limit) {
    return this.#rules.readBlocks(this, line, limit);
  }

  /**
   * Do something within a block.
   *
   * @template T
   * @param {Partial<Pick<BlockState, "indent" | "limit" | "listIndent">>} inner
   * @param {() => T} work
   */
  inside(inner, work) {
    const { indent, limit, listIndent } = this;
    Object.assign(this, inner);
    this.depth += 1;
    const result = work();
    Object.assign(this, { indent, limit, listIndent });
    this.depth -= 1;
    return result;
  }

  /**
   * Return a line behind its indent.
   *
   * @param {number} line
   */
  content(line) {
    const { first, end } = this.lines[line];
    return this.text.slice(first, end);
  }

  /**
   * Return lines as text, without so many columns at the beginning of each.
   *
   * @param {number} from
   * @param {number} to
   * @param {number} indent
   */
  slice(from, to, indent) {
    const pieces = [];
    for (let line = from; line < to; line += 1) pieces.push(this.#withoutIndent(this.lines[line], indent));
    spend(to - from);
    return pieces.join("\n");
  }

  /**
   * @param {Line} line
   * @param {number} indent
   */
  #withoutIndent({ begin, first, end, shift }, indent) {
    let column = 0;
    let position = begin;
    for (; position < end && column < indent; position += 1) {
      const character = this.text[position];
      if (character === "\t") column += TAB - ((column + shift) % TAB);
      else if (character === " " || position < first) column += 1;
      else break;
    }
    return " ".repeat(Math.max(0, column - indent)) + this.text.slice(position, end);
  }

  /**
   * Return inline text, which is read later.
   *
   * @param {string} src
   * @param {boolean | null} checked Of a task.
   */
  inline(src, checked = null) {
    const inline = { src, checked };
    this.lastInline = inline;
    return inline;
  }
}
