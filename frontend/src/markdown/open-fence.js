/** Code whose fence is open: while it grows, only the new text is looked at. No DOM. */

import { Block } from "./block.js";
import { codeStart } from "./html.js";

const FENCE = /^(`{3,}|~{3,})([^\n]*)\n/;

export class OpenFence {
  #start;
  #mark;
  #closing;
  // Where its code begins in the source, and what has been searched for the closing fence.
  #from;
  #seen;

  /**
   * Return the fence that is open at a position of the source, null for none.
   *
   * @param {string} source
   * @param {number} position
   */
  static at(source, position) {
    const [head, run, language] = FENCE.exec(source.slice(position)) ?? [];
    if (!head || (run[0] === "`" && language.includes("`"))) return null;
    const fence = new OpenFence(run, language, position + head.length);
    return fence.isClosed(source) ? null : fence;
  }

  /**
   * @param {string} run
   * @param {string} language
   * @param {number} from
   */
  constructor(run, language, from) {
    this.#start = codeStart(language);
    this.#mark = run[0];
    this.#closing = new RegExp(`^ {0,3}${run[0]}{${run.length},}[ \\t]*$`, "m");
    this.#from = this.#seen = from;
  }

  /** @param {string} source */
  isClosed(source) {
    return this.#closing.test(source.slice(this.#seen));
  }

  /**
   * Return the code so far.
   *
   * @param {string} source
   */
  block(source) {
    const line = source.lastIndexOf("\n") + 1;
    this.#seen = Math.max(this.#from, line);
    // The last line may be the beginning of the closing fence.
    const end = source.slice(line).trim().replaceAll(this.#mark, "") ? source.length : this.#seen;
    return new Block("", null, { open: { start: this.#start, text: source.slice(this.#from, end) } });
  }
}
