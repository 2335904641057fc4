/** The translated texts that the server put into the page, and numbers and dates in the page's language. */

/** @import { Ending } from "./types" */

export class Translations {
  /**
   * @param {Record<string, string>} texts By name; {name} in a text stands for a value.
   * @param {string | undefined} language The page's.
   */
  constructor(texts, language) {
    this.texts = texts;
    this.language = language || undefined;
  }

  /**
   * Return a text with its values filled in.
   *
   * @param {string} name
   * @param {Record<string, string>} values
   */
  say(name, values = {}) {
    return (this.texts[name] ?? "").replace(/\{(\w+)\}/g, (placeholder, key) => values[key] ?? placeholder);
  }

  /**
   * Return how a reply ended, in the sentence of the server's table (rendering/ending_sentences.py); "" if it ended as most replies do.
   *
   * @param {Ending} ending
   */
  outcome({ status, end_reason: reason, error = null }) {
    return this.texts[`${status}.${error?.code ?? reason}`] ?? error?.message ?? this.texts[status] ?? "";
  }

  /** @param {number} value */
  number(value) {
    return new Intl.NumberFormat(this.language).format(value);
  }

  /**
   * Return milliseconds as seconds, with one decimal below ten.
   *
   * @param {number} milliseconds
   */
  seconds(milliseconds) {
    const digits = milliseconds < 10_000 ? 1 : 0;
    /** @type {Intl.NumberFormatOptions} */
    const options = { style: "unit", unit: "second", unitDisplay: "short", maximumFractionDigits: digits };
    return new Intl.NumberFormat(this.language, options).format(milliseconds / 1000);
  }

  /** @param {Date} date */
  month(date) {
    return new Intl.DateTimeFormat(this.language, { month: "long", year: "numeric" }).format(date);
  }

  /** @param {Date} date */
  dateAndTime(date) {
    return new Intl.DateTimeFormat(this.language, { dateStyle: "medium", timeStyle: "short" }).format(date);
  }
}
