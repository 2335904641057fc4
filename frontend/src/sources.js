/** What a reply cites: a numbered list below it. No HTML of a source is shown, and only a safe address is a link. */

/** @import { ReplyParts, Source } from "./types" */

// As protocol/events.py has them: an address of the web, or, of a document of the site, a path of the site.
const WEB_ADDRESS = /^https?:\/\/[^\s/]/i;
const SITE_PATH = /^\/(?![/\\\s])/;

/**
 * Show the sources of a reply, if there are others than before.
 *
 * @param {ReplyParts} parts
 * @param {Source[]} sources
 */
export function showSources({ sources: section, sourcesList: list }, sources) {
  const shown = distinct(sources);
  section.hidden = !shown.length;
  if (list.childElementCount !== shown.length) list.replaceChildren(...shown.map(itemOf));
}

/**
 * Return the sources in the order of their first appearance, which numbers them.
 *
 * @param {Source[]} sources
 */
export function distinct(sources) {
  const found = new Map();
  for (const source of sources) {
    const key = JSON.stringify([source.id, source.url, source.title]);
    if (!found.has(key)) found.set(key, source);
  }
  return [...found.values()];
}

/**
 * Return the address of a source, "" if the page must not link to it.
 *
 * @param {Source} source
 */
export function linkOf({ url, origin }) {
  return WEB_ADDRESS.test(url) || (origin === "context" && SITE_PATH.test(url)) ? url : "";
}

/**
 * @param {Source} source
 * @param {number} index
 */
function itemOf(source, index) {
  const item = document.createElement("li");
  const number = Object.assign(document.createElement("span"), { className: "sc-source-number", textContent: `[${index + 1}]` });
  const body = document.createElement("div");
  body.append(titleOf(source));
  if (source.text) body.append(Object.assign(document.createElement("q"), { textContent: source.text, dir: "auto" }));
  item.append(number, body);
  return item;
}

/** @param {Source} source */
function titleOf(source) {
  const href = linkOf(source);
  const title = Object.assign(document.createElement("bdi"), { textContent: source.title || source.url || source.id });
  if (!href) return title;
  const link = Object.assign(document.createElement("a"), { href, rel: "noopener noreferrer nofollow", target: "_blank" });
  link.append(title);
  return link;
}
