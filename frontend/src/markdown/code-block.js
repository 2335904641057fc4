/** Blocks of code: a frame with the language's name and a button that copies, and colours when the block is complete. */

import { copyText } from "../clipboard.js";
import { loadModule } from "../modules.js";
import { patchText } from "./patch.js";
import { cleanCode } from "./sanitizer.js";

/**
 * @import { MarkdownTexts } from "../types"
 * @import { Block } from "./block.js"
 */

// Colouring takes about 1 ms for 1,000 characters, in one piece.
const MAX_COLOURED_CHARACTERS = 20_000;
const COPIED_MILLISECONDS = 2_000;

/**
 * Put a frame around `pre`; return it.
 *
 * @param {HTMLPreElement} pre
 * @param {MarkdownTexts} texts
 */
export function frameCode(pre, texts) {
  const language = languageOf(pre.firstElementChild);
  const frame = element("div", "sc-code");
  const bar = element("div", "sc-code-bar");
  const label = element("span", "sc-code-language", language);
  const button = /** @type {HTMLButtonElement} */ (element("button", "sc-copy", texts.copy));
  button.type = "button";
  bar.append(label, button);
  pre.dir = "ltr";
  pre.tabIndex = 0;
  pre.setAttribute("role", "group");
  pre.setAttribute("aria-label", [texts.code, language].filter(Boolean).join(" "));
  pre.replaceWith(frame);
  frame.append(bar, pre);
  return frame;
}

/**
 * Copy the code that belongs to a button, exactly as it is shown, and say so on the button.
 *
 * @param {Element} button
 * @param {MarkdownTexts} texts
 */
export async function copyCode(button, texts) {
  const code = button.closest(".sc-code")?.querySelector("code")?.textContent ?? "";
  if (!(await copyText(code.replace(/\n$/, "")))) return;
  button.textContent = texts.copied;
  setTimeout(() => (button.textContent = texts.copy), COPIED_MILLISECONDS);
}

/**
 * Show code that has grown.
 *
 * @param {Element} block
 * @param {string} text
 */
export function growCode(block, text) {
  const code = /** @type {Element} */ (block.querySelector("code"));
  if (!code.firstChild) code.append("");
  patchText(/** @type {Text} */ (code.firstChild), text);
}

/**
 * Colour the code in finished blocks when it is near the screen and the browser is idle: colouring all code of a long conversation
 * would take seconds.
 *
 * @param {{block: Block, node: Node, isHighlighted: boolean}[]} blocks
 * @param {string} address The highlighter's module.
 */
export function highlightBlocks(blocks, address) {
  for (const block of blocks) {
    if (block.isHighlighted) continue;
    block.isHighlighted = true;
    // Searching thousands of blocks takes longer than looking at their HTML.
    if (block.node instanceof Element && block.block.html.includes("<code class=")) highlightCode(block.node, address);
  }
}

/**
 * @param {Element} block
 * @param {string} address
 */
function highlightCode(block, address) {
  for (const code of block.querySelectorAll(".sc-code code[class]")) {
    if (code.textContent.length > MAX_COLOURED_CHARACTERS) continue;
    addresses.set(code, address);
    observer.observe(code);
  }
}

/** @type {WeakMap<Element, string>} */
const addresses = new WeakMap();
const observer = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      whenIdle(() => colour(target, addresses.get(target) ?? ""));
    }
  },
  { rootMargin: "100%" },
);

/**
 * @param {Element} code
 * @param {string} address
 */
async function colour(code, address) {
  const text = code.textContent;
  let highlighter;
  try {
    highlighter = await loadModule(address);
  } catch {
    // Code without colours is still code.
    return;
  }
  const html = highlighter.highlight(text, languageOf(code));
  if (html === null || !code.isConnected || code.textContent !== text || holdsSelection(code)) return;
  const coloured = cleanCode(html);
  if (coloured.textContent === text) code.replaceChildren(coloured);
}

/** @param {Element | null} code */
function languageOf(code) {
  return code?.className.replace("language-", "") ?? "";
}

/**
 * Whether the user has selected part of a node; new nodes would remove the selection.
 *
 * @param {Node} node
 */
function holdsSelection(node) {
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && selection.containsNode(node, true);
}

// Safari has no requestIdleCallback.
const whenIdle = globalThis.requestIdleCallback ?? ((/** @type {() => void} */ call) => setTimeout(call, 50));

/**
 * @param {string} name
 * @param {string} className
 */
function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
