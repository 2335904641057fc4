/** The tool calls of a reply: one line each, with its state, and what it was called with and returned folded. */

import { CallAnswer } from "./call-answer.js";
import { keepFocus } from "./focus.js";
import { shownJson } from "./json-text.js";
import { findParts } from "./parts.js";

/**
 * @import { ShownCall } from "./call-states.js"
 * @import { GivenAnswer } from "./call-answer.js"
 * @import { Translations } from "./translations.js"
 * @import { CallParts, ElementFactories } from "./types"
 */

/**
 * @typedef {object} CallOptions
 * @property {ElementFactories} templates
 * @property {Translations} translations
 * @property {(answer: GivenAnswer) => Promise<boolean>} answer Returns whether the answer was taken.
 */

export class ToolCalls {
  #list;
  #options;
  /** @type {CallLine[]} */
  #lines = [];

  /**
   * @param {HTMLElement} list
   * @param {CallOptions} options
   */
  constructor(list, options) {
    this.#list = list;
    this.#options = options;
  }

  /**
   * @param {ShownCall[]} calls
   * @param {boolean | undefined} mayAnswer Whether the user may answer; undefined if that is not known yet.
   */
  show(calls, mayAnswer) {
    // The reply has begun again.
    if (calls.length < this.#lines.length) this.#clear();
    calls.forEach((shown, index) => (this.#lines[index] ??= this.#add()).show(shown, mayAnswer));
    this.#list.hidden = !calls.length;
  }

  /** Focus the first control for an answer; returns whether there is one. */
  focusAnswer() {
    return this.#lines.some((line) => line.focusAnswer());
  }

  #add() {
    const line = new CallLine(this.#options, () => this.focusAnswer());
    this.#list.append(line.element);
    return line;
  }

  #clear() {
    this.#lines = [];
    this.#list.replaceChildren();
  }
}

class CallLine {
  #options;
  #focusNext;
  /** @type {CallParts} */
  #parts;
  /** @type {CallAnswer | null} */
  #answer = null;

  /**
   * @param {CallOptions} options
   * @param {() => boolean} focusNext Focuses the answer to another call, and returns whether there is one.
   */
  constructor(options, focusNext) {
    this.#options = options;
    this.#focusNext = focusNext;
    this.element = options.templates.call();
    this.#parts = findParts(this.element);
  }

  /**
   * @param {ShownCall} shown
   * @param {boolean | undefined} mayAnswer
   */
  show({ call, state: stateOfCall, result, asked: question }, mayAnswer) {
    const { element } = this;
    const asked = mayAnswer ? question : undefined;
    const state = question && mayAnswer === false ? "waiting_for_other" : stateOfCall;
    if (element.dataset.state === undefined) this.#showCall(call);
    if (element.dataset.state !== state) this.#showState(state);
    if (result && this.#parts.outputField.hidden) this.#showOutput(result.output);
    if (asked && !this.#answer) this.#ask(call, asked);
    if (!asked && this.#answer) this.#asked();
  }

  focusAnswer() {
    this.#answer?.focus();
    return this.#answer !== null;
  }

  /** @param {ShownCall["call"]} call */
  #showCall({ name, arguments: given }) {
    this.#parts.name.textContent = name;
    this.#parts.arguments.textContent = shownJson(given);
  }

  /** @param {string} state */
  #showState(state) {
    this.element.dataset.state = state;
    this.#parts.state.textContent = state && this.#options.translations.say(`call_${state}`);
  }

  /** @param {string} output */
  #showOutput(output) {
    this.#parts.output.textContent = output;
    this.#parts.outputField.hidden = false;
  }

  /**
   * @param {ShownCall["call"]} call
   * @param {NonNullable<ShownCall["asked"]>} asked
   */
  #ask(call, asked) {
    this.#answer = new CallAnswer({ ...this.#options, call, asked });
    this.element.append(this.#answer.element);
  }

  /** It has been answered, here or elsewhere: the keyboard goes on to the next question, or stays on this line. */
  #asked() {
    const { element } = /** @type {CallAnswer} */ (this.#answer);
    this.#answer = null;
    keepFocus(this.element, () => element.remove(), () => this.#focusNext() || this.#parts.summary.focus());
  }
}
