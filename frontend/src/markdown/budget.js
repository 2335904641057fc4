/**
 * Limits what one text may cost. JavaScript cannot be interrupted, so code that reads a text calls `spend` in its loops: it ends the
 * work when the time is over. No DOM.
 */

// So many steps take a small part of a millisecond; reading the clock takes longer than a step.
const STEPS_PER_LOOK = 256;

// What a text may cost: so much, and so much more for each character. Text as models write it takes a tenth of the time, and a dense
// table has an element for every four characters.
const TEXT_MILLISECONDS = 300;
const MILLISECONDS_PER_CHARACTER = 1 / 300;
const TEXT_ELEMENTS = 4_000;
const ELEMENTS_PER_CHARACTER = 1 / 20;
// A block is read in one piece, and shown in one piece.
const BLOCK_MILLISECONDS = 100;
const BLOCK_ELEMENTS = 4_500;
// Of other scripts than Latin: the browser shapes the text of a paragraph in one piece, in more than linear time.
const PARAGRAPH_CHARACTERS = 16_384;
// So much more may a text cost that the user has asked for.
const ON_REQUEST = 10;

const LATIN = /[\0-\u024f]+/g;

class OverBudget extends Error {}

export class Budget {
  /** What was done so far. */
  steps = 0;
  elements = 0;
  #milliseconds;
  #pieceMilliseconds;
  #maxElements;
  #maxBlockElements;
  #maxParagraph;
  #now;
  #deadline = Infinity;
  #nextLook = 0;

  /**
   * @param {number} characters The length of the text.
   * @param {object} options
   * @param {boolean} options.isOnRequest Whether the user has asked for it.
   * @param {() => number} options.now The clock, in milliseconds.
   */
  constructor(characters, { isOnRequest, now }) {
    const factor = isOnRequest ? ON_REQUEST : 1;
    this.#milliseconds = factor * (TEXT_MILLISECONDS + characters * MILLISECONDS_PER_CHARACTER);
    this.#pieceMilliseconds = factor * BLOCK_MILLISECONDS;
    this.#maxElements = factor * (TEXT_ELEMENTS + characters * ELEMENTS_PER_CHARACTER);
    this.#maxBlockElements = factor * BLOCK_ELEMENTS;
    this.#maxParagraph = factor * PARAGRAPH_CHARACTERS;
    this.#now = now;
  }

  /**
   * Do a piece of the work; return what it returns, undefined when the budget is used up, or when this piece takes too long by itself.
   *
   * @template T
   * @param {() => T} work
   */
  attempt(work) {
    const began = this.#now();
    const outer = current;
    this.#deadline = began + Math.min(this.#pieceMilliseconds, this.#milliseconds);
    this.#nextLook = this.steps + STEPS_PER_LOOK;
    current = this;
    try {
      return work();
    } catch (error) {
      if (!(error instanceof OverBudget)) throw error;
      return undefined;
    } finally {
      current = outer;
      this.#milliseconds -= this.#now() - began;
    }
  }

  /** @param {number} steps */
  spend(steps) {
    this.steps += steps;
    if (this.steps < this.#nextLook) return;
    this.#nextLook = this.steps + STEPS_PER_LOOK;
    if (this.#now() > this.#deadline) throw new OverBudget();
  }

  /** @param {number} elements Of one block of the page; they cost style and layout besides. */
  add(elements) {
    this.elements += elements;
    if (elements > this.#maxBlockElements || this.elements > this.#maxElements) throw new OverBudget();
    this.spend(elements);
  }

  /** @param {string} text Of one paragraph. */
  addParagraph(text) {
    if (text.length > this.#maxParagraph && text.replace(LATIN, "").length > this.#maxParagraph) throw new OverBudget();
  }
}

/** @type {Budget | null} The budget of the work that is being done. */
let current = null;

/**
 * Count work on a text. Throws when it was too much, which ends the attempt.
 *
 * @param {number} [steps] One takes about as long as a look at a character.
 */
export function spend(steps = 1) {
  current?.spend(steps);
}

/**
 * Count a paragraph, which the browser lays out in one piece. Throws when it is too long for that.
 *
 * @param {string} text
 */
export function countParagraph(text) {
  current?.addParagraph(text);
}
