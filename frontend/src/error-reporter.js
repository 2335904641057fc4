/** Errors: shown to the user, told to the site and, if they are this script's own, written to the console. */

import { ApiError, NetworkError } from "./api.js";
import { dispatchPageEvent } from "./page-events.js";

/** @import { Notices } from "./notices.js" */

export class ErrorReporter {
  #element;
  #notices;
  #signal;

  /** @param {{element: HTMLElement, notices: Notices, signal: AbortSignal}} options signal: aborted when the chat is closed. */
  constructor({ element, notices, signal }) {
    this.#element = element;
    this.#notices = notices;
    this.#signal = signal;
  }

  /**
   * @param {unknown} error
   * @param {(() => void) | null} retry What "Try again" does, null for no such button.
   */
  show(error, retry = null) {
    this.#notices.showError(error, retry);
    if (!(error instanceof ApiError) && !(error instanceof NetworkError)) reportError(error);
    dispatchPageEvent(this.#element, "error", { ...codeAndStatus(error), message: this.#notices.errorText(error) });
  }

  /**
   * Return what the promise gives; show its error, and return undefined then.
   *
   * @template T
   * @param {Promise<T>} promise
   * @returns {Promise<T | undefined>}
   */
  async guard(promise) {
    try {
      return await promise;
    } catch (error) {
      if (!this.#signal.aborted) this.show(error);
      return undefined;
    }
  }
}

/** @param {unknown} error */
function codeAndStatus(error) {
  if (error instanceof ApiError) return { code: error.code, status: error.status };
  return { code: error instanceof NetworkError ? "offline" : "unexpected", status: 0 };
}
