/** Long work in slices, between which the browser can react and draw. */

const SLICE_MILLISECONDS = 12;

export class Slices {
  /** @type {Iterator<unknown> | null} */
  #work = null;
  #isScheduled = false;
  #channel = new MessageChannel();

  constructor() {
    this.#channel.port1.onmessage = () => {
      this.#isScheduled = false;
      this.#advance();
    };
  }

  /**
   * Do this work in place of what is left of the last: the first slice now, the others soon.
   *
   * @param {Iterator<unknown>} work Each of its steps takes a few milliseconds at most.
   * @param {boolean} isShort Whether to do all of it now.
   */
  run(work, isShort) {
    this.#work = work;
    this.#advance(isShort ? Infinity : SLICE_MILLISECONDS);
  }

  /** Do all that is left now. */
  finish() {
    this.#advance(Infinity);
  }

  #advance(milliseconds = SLICE_MILLISECONDS) {
    const end = performance.now() + milliseconds;
    while (this.#work) {
      if (this.#work.next().done) this.#work = null;
      else if (performance.now() >= end) return this.#schedule();
    }
  }

  #schedule() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // A timer would wait for 4 ms after the fifth slice, and not at all come in a hidden tab for up to a minute.
    this.#channel.port2.postMessage(null);
  }
}
