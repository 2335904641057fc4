/** The question whether a tool call may run: what it would do, and the user's answer, with a reason if that is no. */

import { isObject, isSame, shownJson } from "./json-text.js";
import { onEscape } from "./keys.js";
import { findParts } from "./parts.js";

/**
 * @import { CallOptions } from "./tool-calls.js"
 * @import { AnswerParts, ApprovalCall, ToolCall } from "./types"
 */

/**
 * What the user says to a call. changed: the arguments as JSON text, if they are others than the model's.
 *
 * @typedef {{call: string, approved: boolean, reason?: string, changed?: string}} GivenAnswer
 */

export class CallAnswer {
  #call;
  #answer;
  #translations;
  /** @type {AnswerParts} */
  #parts;
  #isSending = false;

  /** @param {CallOptions & {call: ToolCall, asked: ApprovalCall}} options */
  constructor({ call, asked, templates, translations, answer }) {
    this.#call = call;
    this.#answer = answer;
    this.#translations = translations;
    this.element = templates.answer();
    const parts = (this.#parts = findParts(this.element));
    const isOfClient = asked.runs === "client";
    parts.question.textContent = translations.say(isOfClient ? "call_of_client" : "call_question", { name: isolated(call.name) });
    parts.arguments.textContent = parts.changed.value = shownJson(call.arguments);
    parts.arguments.hidden = asked.editable;
    parts.changedField.hidden = !asked.editable;
    // Another program runs it; here it can only be refused.
    parts.allow.hidden = isOfClient;
    this.#nameParts();
    this.#listen();
  }

  /** Focus the question, where it begins. */
  focus() {
    const { allow, deny } = this.#parts;
    (allow.hidden ? deny : allow).focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "nearest" });
  }

  #nameParts() {
    const { changed, changedLabel, problem, question, reason, reasonLabel } = this.#parts;
    const id = `sc-answer-${nextNumber()}`;
    question.id = `${id}-question`;
    this.element.setAttribute("aria-labelledby", question.id);
    changedLabel.htmlFor = changed.id = `${id}-arguments`;
    reasonLabel.htmlFor = reason.id = `${id}-reason`;
    problem.id = `${id}-problem`;
    changed.setAttribute("aria-describedby", problem.id);
  }

  #listen() {
    const { allow, back, denial, deny, refuse } = this.#parts;
    allow.addEventListener("click", () => this.#allow());
    deny.addEventListener("click", () => this.#openDenial());
    back.addEventListener("click", () => this.#closeDenial());
    refuse.addEventListener("click", () => this.#deny());
    onEscape(denial, () => this.#closeDenial());
  }

  #allow() {
    const { changed, changedField } = this.#parts;
    const isChanged = !changedField.hidden && !isSame(changed.value, shownJson(this.#call.arguments));
    const isValid = !isChanged || isObject(changed.value);
    this.#showProblem(isValid ? "" : this.#translations.say("call_not_json"));
    if (!isValid) return changed.focus();
    this.#send({ approved: true, ...(isChanged && { changed: changed.value }) });
  }

  #deny() {
    const reason = this.#parts.reason.value.trim();
    this.#send({ approved: false, ...(reason && { reason }) });
  }

  /**
   * Once: the answer cannot be taken back. If it was not taken, the user can answer again.
   *
   * @param {Omit<GivenAnswer, "call">} given
   */
  async #send(given) {
    if (this.#isSending) return;
    this.#setSending(true);
    const isTaken = await this.#answer({ call: this.#call.id, ...given });
    if (!isTaken) this.#setSending(false);
  }

  /** @param {boolean} isSending */
  #setSending(isSending) {
    const { allow, back, deny, refuse } = this.#parts;
    this.#isSending = isSending;
    // Disabled buttons would lose the focus.
    for (const button of [allow, back, deny, refuse]) button.setAttribute("aria-disabled", String(isSending));
  }

  #openDenial() {
    this.#showDenial(true);
    this.#parts.reason.focus();
  }

  #closeDenial() {
    this.#showDenial(false);
    this.#parts.deny.focus();
  }

  /** @param {boolean} isShown */
  #showDenial(isShown) {
    this.#parts.denial.hidden = !isShown;
    this.#parts.choice.hidden = isShown;
  }

  /** @param {string} text */
  #showProblem(text) {
    const { changed, problem } = this.#parts;
    problem.textContent = text;
    problem.hidden = !text;
    changed.setAttribute("aria-invalid", String(Boolean(text)));
  }
}

/**
 * Return a text between the characters that keep its direction from what is around it.
 *
 * @param {string} text
 */
function isolated(text) {
  return `\u2068${text}\u2069`;
}

let number = 0;

function nextNumber() {
  number += 1;
  return number;
}
