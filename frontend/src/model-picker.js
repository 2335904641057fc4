/** The choice of a model in the composer, and of how much it reasons. Each is hidden where there is only one. */

import { ModelMenu } from "./model-menu.js";

/**
 * @import { Translations } from "./translations.js"
 * @import { ChatParts, ModelChoice, OfferedModel } from "./types"
 */

export class ModelPicker {
  #parts;
  #translations;
  #changed;
  #menu;
  /** @type {OfferedModel[]} */
  #models = [];
  /** @type {ModelChoice} What was asked for last; it may not be offered. */
  #wanted = { model: "", effort: "" };

  /** @param {{parts: ChatParts, translations: Translations, changed: () => void, signal: AbortSignal}} options */
  constructor({ parts, translations, changed, signal }) {
    this.#parts = parts;
    this.#translations = translations;
    this.#changed = changed;
    this.#menu = new ModelMenu({ menu: parts.modelMenu, signal });
    parts.model.addEventListener("click", () => this.openMenu(parts.model, this.#current?.id, (model) => this.#choose({ model })), { signal });
    parts.effort.addEventListener("change", () => this.#choose({ effort: parts.effort.value }), { signal });
  }

  /** What a message is sent with: "" for what there is no choice of. */
  get chosen() {
    return this.choiceOf(this.#current?.id ?? "");
  }

  /** Whether there are several models. */
  get hasChoice() {
    return this.#models.length > 1;
  }

  /**
   * Return what to send for a model: with the effort that the user wants, if it has that one.
   *
   * @param {string} id
   * @returns {ModelChoice}
   */
  choiceOf(id) {
    const model = this.#find(id);
    const effort = model ? this.#effortOf(model) : "";
    // An effort belongs to its model, so both are named.
    return { model: model && (this.hasChoice || effort) ? model.id : "", effort };
  }

  /**
   * Return the name of a model, its id if it is not offered.
   *
   * @param {string} id
   */
  labelOf(id) {
    return this.#find(id)?.label ?? id;
  }

  /**
   * Offer these models, as GET api/models has them. A wildcard names no model.
   *
   * @param {OfferedModel[]} models
   */
  offer(models) {
    this.#models = models.filter(({ id }) => !id.endsWith(":*"));
    this.#show();
  }

  /**
   * Choose a model with its effort, now or when it is offered; without a model, nothing changes.
   *
   * @param {{model?: string, effort?: string}} choice
   */
  choose({ model, effort = "" }) {
    if (model) this.#wanted = { model, effort };
    this.#show();
  }

  /**
   * Let the user choose a model at a button.
   *
   * @param {HTMLElement} opener
   * @param {string | undefined} current The id of the one that is marked.
   * @param {(id: string) => void} chosen
   */
  openMenu(opener, current, chosen) {
    this.#menu.open({ opener, models: this.#models, current, chosen });
  }

  get #current() {
    return this.#find(this.#wanted.model) ?? this.#models.find((model) => model.default) ?? this.#models[0];
  }

  /** @param {string} id */
  #find(id) {
    return this.#models.find((model) => model.id === id);
  }

  /** @param {OfferedModel} model */
  #effortOf({ effort, efforts }) {
    if (efforts.includes(this.#wanted.effort)) return this.#wanted.effort;
    return effort && efforts.includes(effort) ? effort : "";
  }

  /** @param {Partial<ModelChoice>} choice */
  #choose(choice) {
    this.#wanted = { ...this.#wanted, ...choice };
    this.#show();
    this.#changed();
  }

  #show() {
    const current = this.#current;
    const { messages, model, modelName, modelField } = this.#parts;
    modelName.textContent = current?.label ?? "";
    model.title = current?.description ?? "";
    modelField.hidden = !this.hasChoice;
    messages.toggleAttribute("data-has-models", this.hasChoice);
    this.#showEfforts(current);
  }

  /** @param {string} value */
  #effortText(value) {
    return this.#translations.say("effort_option", { effort: this.#translations.say(`effort_${value || "default"}`) });
  }

  /** @param {OfferedModel | undefined} model */
  #showEfforts(model) {
    const { effort: select, effortField } = this.#parts;
    const { effort = null, efforts = [] } = model ?? {};
    // The model's own effort may be one that users cannot choose.
    const values = effort && efforts.includes(effort) ? efforts : ["", ...efforts];
    select.replaceChildren(...values.map((value) => new Option(this.#effortText(value), value)));
    effortField.hidden = values.length < 2;
    if (model) select.value = this.#effortOf(model);
  }
}

/**
 * Return the fields of a request that name a model and its effort.
 *
 * @param {ModelChoice} choice
 */
export function fieldsOf({ model, effort }) {
  return { ...(model && { model }), ...(effort && { effort }) };
}
