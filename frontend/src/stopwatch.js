/** Measures how long something took, once. */

export class Stopwatch {
  #started = 0;
  /** 0 until it is stopped. */
  milliseconds = 0;

  start() {
    this.#started ||= performance.now();
  }

  stop() {
    if (this.#started && !this.milliseconds) this.milliseconds = performance.now() - this.#started;
  }
}
