/** Makes HTML of Markdown tokens, in the same form as the server. No DOM. The HTML is not safe to show before sanitizer.js has cleaned it. */

import markup from "../../../streaming_chat/rendering/allowed_html.json" with { type: "json" };

import { escape, escapeText } from "./escaping.js";
import { inlineHtml } from "./inline.js";

/**
 * @import { MarkdownTexts } from "../types"
 * @import { Definitions, Token } from "./dialect.js"
 */

/** @typedef {{texts: MarkdownTexts, links: Definitions}} HtmlOptions links: the definitions of the whole text. */

// A formula and a footnote are paragraphs that begin on their own.
const PARAGRAPHS = new Set(["paragraph", "formula", "note"]);

/**
 * Return an outer block as HTML.
 *
 * @param {Token} token
 * @param {HtmlOptions} options
 */
export function toHtml(token, options) {
  return block(token, ' dir="auto"', options);
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
 * @param {HtmlOptions} options
 * @returns {string}
 */
function block(token, dir, options) {
  const { type } = token;
  const inside = (/** @type {string} */ tag, /** @type {string} */ content) => `<${tag}${dir}>${content}</${tag}>`;
  const blocks = (/** @type {Token[]} */ tokens) => tokens.map((inner) => block(inner, "", options)).join("");
  const inlines = (/** @type {Token[]} */ tokens) => inline(tokens, options);
  if (PARAGRAPHS.has(type)) return inside("p", inlines(token.tokens));
  if (type === "text") return bareText(token, inlines);
  if (type === "checkbox") return checkbox(token, options);
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
 * @param {(tokens: Token[]) => string} inlines
 */
function bareText({ tokens, text, isSeparate }, inlines) {
  const html = tokens ? inlines(tokens) : escapeText(text);
  return isSeparate ? `\n${html}\n` : html;
}

/**
 * @param {Token} token
 * @param {string} dir
 * @param {(tokens: Token[]) => string} blocks
 */
function list({ items, ordered, start }, dir, blocks) {
  const inner = (/** @type {Token} */ item) => (item.loose ? item.tokens : item.tokens.map(tight));
  const content = items.map((/** @type {Token} */ item) => `<li>${blocks(inner(item))}</li>`).join("");
  if (!ordered) return `<ul${dir}>${content}</ul>`;
  return `<ol${start === 1 ? "" : ` start="${start}"`}${dir}>${content}</ol>`;
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

/**
 * Return a token of a list without blank lines, where there are no paragraphs.
 *
 * @param {Token} token
 */
function tight(token) {
  return PARAGRAPHS.has(token.type) ? { ...token, type: "text", isSeparate: true } : token;
}

/**
 * @param {Token[] & {src?: string}} tokens
 * @param {HtmlOptions} options
 */
function inline(tokens, options) {
  const { src = "" } = tokens;
  const boxes = tokens.map((token) => checkbox(token, options)).join("");
  // As on the server, text that would take too long to read is shown as it was written.
  if (src.split("[").length - 1 > markup.max_brackets) return boxes + escape(src);
  return boxes + inlineHtml(src, { links: options.links, image: options.texts.image });
}

/**
 * @param {Token} token
 * @param {HtmlOptions} options
 */
function checkbox({ checked }, { texts }) {
  return `<input type="checkbox" disabled aria-label="${escape(checked ? texts.done : texts.not_done)}"${checked ? " checked" : ""}> `;
}
