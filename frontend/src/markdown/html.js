/**
 * Tokens as HTML, in the server's form. No DOM.
 *
 * It is not safe to show yet: the allow-list has the last word.
 */

import { isSafe } from "./dialect.js";

const TEXT = /[<>"]|&(?!(?:#\d{1,7}|#x[a-f\d]{1,6}|\w+);)/gi;
const NAMES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Return text, of which nothing is a character reference, as HTML. */
export function escape(text) {
  return text.replace(/[&<>"]/g, (character) => NAMES[character]);
}

/** Return one outer block as HTML. image: "{alt}" and "{address}" in the words that stand for an image. */
export function html(token, image) {
  return block(token, ' dir="auto"', image);
}

/** Return the start tags of a block of code. language: the word after its fence. */
export function codeStart(language) {
  const name = language?.match(/\S+/)?.[0];
  return name ? `<pre><code class="language-${escape(name)}">` : "<pre><code>";
}

/** Return the HTML of a block of code. */
export function code(language, text) {
  return `${codeStart(language)}${escape(text)}</code></pre>`;
}

// An inner block has no direction of its own: it would hide its text from the outer one's `auto`.
function block(token, dir, image) {
  const { type } = token;
  const inside = (tag, content) => `<${tag}${dir}>${content}</${tag}>`;
  const blocks = (tokens) => tokens.map((inner) => block(inner, "", image)).join("");
  const inlines = (tokens) => inline(tokens, image);
  if (type === "paragraph") return inside("p", inlines(token.tokens));
  if (type === "text") return token.tokens ? inlines(token.tokens) : inline([token], image);
  if (type === "heading") return inside(`h${token.depth}`, inlines(token.tokens));
  if (type === "code") return code(token.lang, token.text && `${token.text.replace(/\n$/, "")}\n`);
  if (type === "hr") return "<hr>";
  if (type === "blockquote") return inside("blockquote", blocks(token.tokens));
  if (type === "list") {
    const items = token.items.map((item) => `<li>${blocks(item.tokens)}</li>`).join("");
    const start = token.ordered && token.start !== 1 ? ` start="${token.start}"` : "";
    return token.ordered ? `<ol${dir}${start}>${items}</ol>` : inside("ul", items);
  }
  if (type === "table") return inside("table", table(token, inlines));
  return "";
}

function table({ header, rows }, inlines) {
  const cell = (tag) => ({ align, tokens }) => `<${tag}${align ? ` align="${align}"` : ""}>${inlines(tokens)}</${tag}>`;
  const row = (cells, tag) => `<tr>${cells.map(cell(tag)).join("")}</tr>`;
  const body = rows.map((cells) => row(cells, "td")).join("");
  return `<thead>${row(header, "th")}</thead>${body && `<tbody>${body}</tbody>`}`;
}

const MARKS = { strong: "strong", em: "em", del: "s" };

function inline(tokens, image, inLink = false) {
  return tokens.map((token) => {
    const { type } = token;
    if (MARKS[type]) return `<${MARKS[type]}>${inline(token.tokens, image, inLink)}</${MARKS[type]}>`;
    if (type === "codespan") return `<code>${escape(token.text)}</code>`;
    if (type === "br") return "<br>";
    if (type === "link") return link(token, token.autolink ? escape(token.text) : inline(token.tokens, image, true));
    if (type === "image") return describe(token, image, inLink);
    return escapeText(token.text);
  }).join("");
}

function link({ href, title, autolink }, content) {
  const address = autolink ? escape(encode(href)) : escapeText(encode(href));
  return `<a href="${address}"${title ? ` title="${escapeText(title)}"` : ""}>${content}</a>`;
}

/** Say what an image is and where: fetching it would tell its host who reads what. */
function describe({ href, tokens }, image, inLink) {
  const address = encode(href);
  const shown = escapeText(address);
  const words = { alt: plain(tokens), address: isSafe(address) && !inLink ? link({ href }, shown) : shown };
  return escape(image).replace(/\{(alt|address)\}/g, (_whole, name) => words[name]);
}

/** Return the text of inline tokens as HTML without elements. */
function plain(tokens) {
  return tokens.map((token) => {
    if (token.type === "codespan") return escape(token.text);
    if (token.type === "br") return "\n";
    return token.tokens ? plain(token.tokens) : escapeText(token.text);
  }).join("");
}

/** Text of a token still has its named character references. */
function escapeText(text) {
  return text.replace(TEXT, (character) => NAMES[character]);
}

function encode(address) {
  return encodeURI(address.toWellFormed?.() ?? address).replaceAll("%25", "%");
}
