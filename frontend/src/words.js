/** The page's translated words, with what belongs into them. */

export class Words {
  /** texts: name -> text, in which {name} stands for a value. lang: of the page, for numbers and dates. */
  constructor(texts, lang) {
    this.texts = texts;
    this.lang = lang || undefined;
  }

  /** Return a text with its values. */
  say(name, values = {}) {
    return (this.texts[name] ?? "").replace(/\{(\w+)\}/g, (all, key) => values[key] ?? all);
  }

  number(value) {
    return new Intl.NumberFormat(this.lang).format(value);
  }

  /** Return milliseconds as seconds, one digit after the point below ten. */
  seconds(milliseconds) {
    const digits = milliseconds < 10_000 ? 1 : 0;
    const options = { style: "unit", unit: "second", unitDisplay: "short", maximumFractionDigits: digits };
    return new Intl.NumberFormat(this.lang, options).format(milliseconds / 1000);
  }

  /** Return the time of today's, the date of others. */
  brief(date) {
    const today = date.toDateString() === new Date().toDateString();
    const format = today ? { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } : { day: "numeric", month: "short" };
    return new Intl.DateTimeFormat(this.lang, format).format(date);
  }
}
