/** Groups conversations by the day of their last activity, in the user's time zone. */

/**
 * @import { Translations } from "./translations.js"
 * @import { Conversation } from "./types"
 */

/** @typedef {{label: string, conversations: Conversation[]}} DayGroup */

/**
 * Return the groups in the order of the conversations, which are the newest first.
 *
 * @param {Conversation[]} conversations
 * @param {Translations} translations
 * @param {Date} now
 */
export function groupByDay(conversations, translations, now) {
  /** @type {DayGroup[]} */
  const groups = [];
  for (const conversation of conversations) {
    const label = labelOf(new Date(conversation.last_activity), translations, now);
    if (groups.at(-1)?.label !== label) groups.push({ label, conversations: [] });
    groups.at(-1)?.conversations.push(conversation);
  }
  return groups;
}

/**
 * @param {Date} date
 * @param {Translations} translations
 * @param {Date} now
 */
function labelOf(date, translations, now) {
  const days = daysBetween(date, now);
  if (days <= 0) return translations.say("today");
  if (days === 1) return translations.say("yesterday");
  if (days <= 7) return translations.say("last_week");
  if (days <= 30) return translations.say("last_month");
  return translations.month(date);
}

/**
 * Return how many midnights lie between two moments.
 *
 * @param {Date} from
 * @param {Date} to
 */
function daysBetween(from, to) {
  return (dayNumber(to) - dayNumber(from)) / 86_400_000;
}

/**
 * Return the date as a number, in milliseconds. As if it were one of UTC, since local days can have 23 or 25 hours.
 *
 * @param {Date} date
 */
function dayNumber(date) {
  return Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
}
