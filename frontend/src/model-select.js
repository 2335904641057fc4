/** The choice of model in the composer; hidden when there is only one. */

/** @import { ChatParts } from "./types" */

export class ModelSelect {
  #select;
  #field;
  #wanted = "";

  /** @param {{parts: ChatParts, changed: () => void, signal: AbortSignal}} options */
  constructor({ parts, changed, signal }) {
    this.#select = parts.model;
    this.#field = parts.modelField;
    this.#select.addEventListener("change", changed, { signal });
  }

  /** The model that is chosen, "" where there is no choice. */
  get chosen() {
    return this.#select.options.length > 1 ? this.#select.value : "";
  }

  /**
   * Offer these models, as GET api/models has them. A wildcard names no model.
   *
   * @param {{id: string}[]} models
   */
  offer(models) {
    const options = models.filter(({ id }) => !id.endsWith(":*")).map(({ id }) => new Option(id, id));
    this.#select.replaceChildren(...options);
    this.#select.disabled = this.#field.hidden = options.length < 2;
    this.choose(this.#wanted);
  }

  /**
   * Choose a model, now or when it is offered; "" changes nothing.
   *
   * @param {string | undefined} model
   */
  choose(model) {
    this.#wanted = model || this.#wanted;
    const offered = [...this.#select.options].map((option) => option.value);
    if (offered.includes(this.#wanted)) this.#select.value = this.#wanted;
  }
}
