/** Makes HTML of Markdown tokens, in the same form as the server. No DOM. The HTML is not safe to show before sanitizer.js has cleaned it. */

import { countParagraph, spend } from "./budget.js";
import { escapeHtml, parser, unescapeAll } from "./parser.js";

/**
 * @import { Token } from "markdown-it"
 * @import { MarkdownTexts } from "../types"
 * @import { Definitions, Source } from "./dialect.js"
 */

/** @typedef {{texts: MarkdownTexts, links: Definitions}} HtmlOptions links: the definitions of the whole text. */
/** @typedef {Definitions & {texts: MarkdownTexts, isInLink: boolean}} Env */
/** @typedef {(tokens: Token[], index: number, options: any, env: any) => string} Rule */

const { renderer } = parser;

/**
 * Return an outer block as HTML. The page sets its direction: with `dir`, the browser would look at all of its text again with each
 * element that the parser adds.
 *
 * @param {Source} block
 * @param {HtmlOptions} options
 */
export function toHtml({ tokens }, { texts, links }) {
  const env = { ...links, texts, isInLink: false };
  for (const token of tokens) if (token.type === "inline") readInline(token, env);
  return renderer.render(tokens, parser.options, env);
}

/**
 * @param {Token} token
 * @param {Env} env
 */
function readInline(token, env) {
  countParagraph(token.content);
  parser.inline.parse(token.content, parser, env, (token.children ??= []));
}

/**
 * Return the start tags of a block of code.
 *
 * @param {string} info What follows its fence.
 */
export function codeStart(info) {
  const language = unescapeAll(info).match(/\S+/)?.[0];
  return language ? `<pre><code class="language-${escapeHtml(language)}">` : "<pre><code>";
}

const renderToken = renderer.renderToken.bind(renderer);
renderer.renderToken = (tokens, index, options) => {
  spend();
  // There is no white space between elements.
  return renderToken(tokens, index, options).replace(/\n$/, "");
};

/** @type {Rule} */
function code(tokens, index) {
  const { info, content } = tokens[index];
  return `${codeStart(info)}${escapeHtml(content)}</code></pre>`;
}

/** @type {Rule} */
function cell(tokens, index, options) {
  const token = tokens[index];
  token.attrs = token.attrs?.map(([, style]) => ["align", String(style).replace("text-align:", "")]) ?? null;
  return renderer.renderToken(tokens, index, options);
}

/** @type {Rule} */
function task(tokens, index, _options, env) {
  const isDone = tokens[index].meta?.isDone;
  const label = escapeHtml(isDone ? env.texts.done : env.texts.not_done);
  return `<input type="checkbox" disabled aria-label="${label}"${isDone ? " checked" : ""}> `;
}

/**
 * Return the description and address of an image. The image is not loaded: that would tell its host who reads the reply.
 *
 * @type {Rule}
 */
function image(tokens, index, options, env) {
  const token = tokens[index];
  const address = String(token.attrGet("src"));
  const shown = escapeHtml(address);
  const alt = escapeHtml(renderer.renderInlineAsText(token.children ?? [], options, env));
  /** @type {Record<string, string>} */
  const values = { alt, address: parser.validateLink(address) && !env.isInLink ? `<a href="${shown}">${shown}</a>` : shown };
  return escapeHtml(env.texts.image).replace(/\{(alt|address)\}/g, (_placeholder, name) => values[name]);
}

/** @type {Rule} */
function link(tokens, index, options, env) {
  env.isInLink = tokens[index].nesting > 0;
  return renderer.renderToken(tokens, index, options);
}

/** @type {Rule} */
function note(tokens, index) {
  const { content, meta } = tokens[index];
  const label = escapeHtml(content);
  const name = `fn-${content.replace(/[^A-Za-z0-9-]/gu, (character) => `_${character.codePointAt(0)?.toString(16)}`)}`;
  if (meta?.isDefinition) return `<sup id="${name}">${label}</sup>`;
  return meta?.isLink ? `<sup><a href="#${name}">${label}</a></sup>` : `<sup>${label}</sup>`;
}

Object.assign(renderer.rules, {
  fence: code,
  code_block: code,
  th_open: cell,
  td_open: cell,
  image,
  link_open: link,
  link_close: link,
  note,
  task,
  hardbreak: () => "<br>",
  softbreak: () => "<br>",
  text_special: renderer.rules.text,
  formula: (/** @type {Token[]} */ tokens, /** @type {number} */ index) => `<span class="math" dir="ltr">${escapeHtml(tokens[index].content)}</span>`,
});
