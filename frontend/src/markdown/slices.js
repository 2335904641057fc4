/**
 * Long work in slices, between which the browser can react and draw. All texts of a page share the time of a task: thirty short texts
 * that are shown at once take as long as one long text.
 */

const SLICE_MILLISECONDS = 12;
// Of new elements: their style and layout take several times as long as making them.
export const SLICE_ELEMENTS = 400;
// So long may the first slice of a short text be, which then is shown at once.
const SHORT_MILLISECONDS = 50;
// The tab may have been hidden in the meantime.
const LONGEST_WAIT = 250;

/** @type {Set<Slices>} The texts that wait for a task, in order. */
const waiting = new Set();
const channel = new MessageChannel();
let isScheduled = false;
// How long this task has worked for any of them, and how many elements it has added.
let spent = 0;
let added = 0;

channel.port1.onmessage = () => {
  isScheduled = false;
  spent = added = 0;
  for (const slices of waiting) {
    if (!slices.advance(SLICE_MILLISECONDS)) break;
  }
};

// After each slice the browser draws: what several slices have added would be laid out in one task. In a hidden tab it does not draw.
function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  const next = () => channel.port2.postMessage(null);
  if (document.hidden || !waiting.size) return next();
  const frame = requestAnimationFrame(() => {
    clearTimeout(timer);
    next();
  });
  const timer = setTimeout(() => {
    cancelAnimationFrame(frame);
    next();
  }, LONGEST_WAIT);
}

export class Slices {
  /** @type {Iterator<number | void> | null} */
  #work = null;

  /**
   * Do this work in place of what is left of the last: the first slice now, the others soon.
   *
   * @param {Iterator<number | void>} work Each of its steps takes a few milliseconds at most, and says how many elements are new.
   * @param {boolean} isShort Whether the first slice may be longer.
   */
  run(work, isShort) {
    this.#work = work;
    this.advance(isShort ? SHORT_MILLISECONDS : SLICE_MILLISECONDS);
  }

  /** Do all that is left now. */
  finish() {
    this.advance(Infinity, Infinity);
  }

  /**
   * Work until this task has worked for so long, or has added so many elements; return whether nothing is left.
   *
   * @param {number} milliseconds
   */
  advance(milliseconds, elements = SLICE_ELEMENTS) {
    const began = performance.now();
    const end = began + milliseconds - spent;
    while (this.#work && performance.now() < end && added < elements) {
      const { value, done } = this.#work.next();
      added += value ?? 0;
      if (done) this.#work = null;
    }
    spent += performance.now() - began;
    if (this.#work) waiting.add(this);
    else waiting.delete(this);
    schedule();
    return !this.#work;
  }
}
