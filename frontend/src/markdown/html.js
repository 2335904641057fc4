/** Makes HTML of Markdown tokens, in the same form as the server. No DOM. The HTML is not safe to show before sanitizer.js has cleaned it. */

import { countParagraph, spend } from "./budget.js";
import { escape, unescape } from "./escaping.js";
import { inlineHtml } from "./inline.js";

/**
 * @import { MarkdownTexts } from "../types"
 * @import { Token } from "./block-rules.js"
 * @import { Definitions } from "./dialect.js"
 */

/** Inline text; checked: of a task. @typedef {{src: string, checked: boolean | null}} Inline */
/** @typedef {{texts: MarkdownTexts, links: Definitions}} HtmlOptions links: the definitions of the whole text. */

/**
 * Return an outer block as HTML. The page sets its direction: with `dir`, the browser would look at all of its text again with each
 * element that the parser adds.
 *
 * @param {Token} token
 * @param {HtmlOptions} options
 */
export function toHtml(token, options) {
  return block(token, options);
}

/**
 * Return the start tags of a block of code.
 *
 * @param {string} language What follows its fence.
 */
export function codeStart(language) {
  const name = unescape(language).match(/\S+/)?.[0];
  return name ? `<pre><code class="language-${escape(name)}">` : "<pre><code>";
}

/**
 * @param {Token} token
 * @param {HtmlOptions} options
 * @returns {string}
 */
function block(token, options) {
  const { type, depth } = token;
  const inlines = (/** @type {Inline | null} */ text) => (text ? inline(text, options) : "");
  const blocks = (/** @type {Token[]} */ tokens) => tokens.map((inner) => block(inner, options)).join("");
  if (type === "paragraph") return `<p>${inlines(token.inline)}</p>`;
  if (type === "heading") return `<h${depth}>${inlines(token.inline)}</h${depth}>`;
  if (type === "code") return `${codeStart(token.language)}${escape(token.text)}</code></pre>`;
  if (type === "hr") return "<hr>";
  if (type === "blockquote") return `<blockquote>${blocks(token.tokens)}</blockquote>`;
  if (type === "list") return list(token, options);
  if (type === "table") return `<table>${table(token, inlines)}</table>`;
  return "";
}

/**
 * @param {Token} token
 * @param {HtmlOptions} options
 */
function list({ items, ordered, number, isTight }, options) {
  // In a list without blank lines, there are no paragraphs.
  const isBare = (/** @type {Token | undefined} */ token) => isTight && token?.type === "paragraph";
  const inner = (/** @type {Token} */ token, /** @type {number} */ index, /** @type {Token[]} */ tokens) => {
    if (!isBare(token)) return block(token, options);
    return (isBare(tokens[index - 1]) ? "\n" : "") + inline(token.inline, options);
  };
  const content = items.map((/** @type {{tokens: Token[]}} */ { tokens }) => `<li>${tokens.map(inner).join("")}</li>`).join("");
  if (!ordered) return `<ul>${content}</ul>`;
  return `<ol${number === 1 ? "" : ` start="${number}"`}>${content}</ol>`;
}

/**
 * @param {Token} token
 * @param {(text: Inline | null) => string} inlines
 */
function table({ aligns, header, rows }, inlines) {
  const row = (/** @type {(Inline | null)[]} */ cells, /** @type {string} */ tag) => {
    spend(cells.length);
    const html = cells.map((cell, index) => `<${tag}${aligns[index] ? ` align="${aligns[index]}"` : ""}>${inlines(cell)}</${tag}>`);
    return `<tr>${html.join("")}</tr>`;
  };
  const body = rows.map((/** @type {(Inline | null)[]} */ cells) => row(cells, "td")).join("");
  return `<thead>${row(header, "th")}</thead>${body && `<tbody>${body}</tbody>`}`;
}

/**
 * @param {Inline} text
 * @param {HtmlOptions} options
 */
function inline({ src, checked }, { links, texts }) {
  countParagraph(src);
  const box = checked === null ? "" : checkbox(checked, texts);
  return box + inlineHtml(src, { links, image: texts.image });
}

/**
 * @param {boolean} checked
 * @param {MarkdownTexts} texts
 */
function checkbox(checked, texts) {
  return `<input type="checkbox" disabled aria-label="${escape(checked ? texts.done : texts.not_done)}"${checked ? " checked" : ""}> `;
}
