/** Makes HTML of Markdown tokens, in the same form as the server. No DOM. The HTML is not safe to show before sanitizer.js has cleaned it. */

import { isSafe } from "./dialect.js";

/** @import { Token } from "./dialect.js" */

const TEXT = /[<>"]|&(?!(?:#\d{1,7}|#x[a-f\d]{1,6}|\w+);)/gi;
/** @type {Record<string, string>} */
const NAMES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/**
 * Return text as HTML. Nothing in it is a character reference.
 *
 * @param {string} text
 */
export function escape(text) {
  return text.replace(/[&<>"]/g, (character) => NAMES[character]);
}

/**
 * Return an outer block as HTML.
 *
 * @param {Token} token
 * @param {string} image What stands for an image, with {alt} and {address}.
 */
export function toHtml(token, image) {
  return block(token, ' dir="auto"', image);
}

/**
 * Return the start tags of a block of code.
 *
 * @param {string | undefined} language What follows its fence.
 */
export function codeStart(language) {
  const name = language?.match(/\S+/)?.[0];
  return name ? `<pre><code class="language-${escape(name)}">` : "<pre><code>";
}

/**
 * @param {string | undefined} language
 * @param {string} text
 */
function code(language, text) {
  return `${codeStart(language)}${escape(text)}</code></pre>`;
}

/**
 * @param {Token} token
 * @param {string} dir Of an outer block. An inner block has none: the `dir=auto` around it would not look at its text.
 * @param {string} image
 * @returns {string}
 */
function block(token, dir, image) {
  const { type } = token;
  const inside = (/** @type {string} */ tag, /** @type {string} */ content) => `<${tag}${dir}>${content}</${tag}>`;
  const blocks = (/** @type {Token[]} */ tokens) => tokens.map((inner) => block(inner, "", image)).join("");
  const inlines = (/** @type {Token[]} */ tokens) => inline(tokens, image);
  if (type === "paragraph") return inside("p", inlines(token.tokens));
  if (type === "text") return token.tokens ? inlines(token.tokens) : inline([token], image);
  if (type === "heading") return inside(`h${token.depth}`, inlines(token.tokens));
  if (type === "code") return code(token.lang, token.text && `${token.text.replace(/\n$/, "")}\n`);
  if (type === "hr") return "<hr>";
  if (type === "blockquote") return inside("blockquote", blocks(token.tokens));
  if (type === "list") return list(token, dir, blocks);
  if (type === "table") return inside("table", table(token, inlines));
  return "";
}

/**
 * @param {Token} token
 * @param {string} dir
 * @param {(tokens: Token[]) => string} blocks
 */
function list({ items, ordered, start }, dir, blocks) {
  const content = items.map((/** @type {Token} */ item) => `<li>${blocks(item.tokens)}</li>`).join("");
  if (!ordered) return `<ul${dir}>${content}</ul>`;
  return `<ol${dir}${start === 1 ? "" : ` start="${start}"`}>${content}</ol>`;
}

/**
 * @param {Token} token
 * @param {(tokens: Token[]) => string} inlines
 */
function table({ header, rows }, inlines) {
  const row = (/** @type {Token[]} */ cells, /** @type {string} */ tag) => {
    const html = cells.map(({ align, tokens }) => `<${tag}${align ? ` align="${align}"` : ""}>${inlines(tokens)}</${tag}>`);
    return `<tr>${html.join("")}</tr>`;
  };
  const body = rows.map((/** @type {Token[]} */ cells) => row(cells, "td")).join("");
  return `<thead>${row(header, "th")}</thead>${body && `<tbody>${body}</tbody>`}`;
}

/** @type {Record<string, string>} */
const MARKS = { strong: "strong", em: "em", del: "s" };

/**
 * @param {Token[]} tokens
 * @param {string} image
 * @returns {string}
 */
function inline(tokens, image, inLink = false) {
  return tokens.map((token) => {
    const { type } = token;
    if (MARKS[type]) return `<${MARKS[type]}>${inline(token.tokens, image, inLink)}</${MARKS[type]}>`;
    if (type === "codespan") return `<code>${escape(token.text)}</code>`;
    if (type === "br") return "<br>";
    if (type === "link") return link(/** @type {any} */ (token), token.autolink ? escape(token.text) : inline(token.tokens, image, true));
    if (type === "image") return describe(token, image, inLink);
    return escapeText(token.text);
  }).join("");
}

/**
 * @param {{href: string, title?: string, autolink?: boolean}} token
 * @param {string} content
 */
function link({ href, title, autolink }, content) {
  const address = autolink ? escape(encode(href)) : escapeText(encode(href));
  return `<a href="${address}"${title ? ` title="${escapeText(title)}"` : ""}>${content}</a>`;
}

/**
 * Return the description and address of an image. The image is not loaded: that would tell its host who reads the reply.
 *
 * @param {Token} token
 * @param {string} image
 * @param {boolean} inLink
 */
function describe({ href, tokens }, image, inLink) {
  const address = encode(href);
  const shown = escapeText(address);
  /** @type {Record<string, string>} */
  const values = { alt: plain(tokens), address: isSafe(address) && !inLink ? link({ href }, shown) : shown };
  return escape(image).replace(/\{(alt|address)\}/g, (_placeholder, name) => values[name]);
}

/**
 * Return the text of inline tokens as HTML without elements.
 *
 * @param {Token[]} tokens
 * @returns {string}
 */
function plain(tokens) {
  return tokens.map((token) => {
    if (token.type === "codespan") return escape(token.text);
    if (token.type === "br") return "\n";
    return token.tokens ? plain(token.tokens) : escapeText(token.text);
  }).join("");
}

/**
 * Return the text of a token, which may contain character references, as HTML.
 *
 * @param {string} text
 */
function escapeText(text) {
  return text.replace(TEXT, (character) => NAMES[character]);
}

/** @param {string} address */
function encode(address) {
  return encodeURI(address.toWellFormed?.() ?? address).replaceAll("%25", "%");
}
