/** Blocks of code: a frame with the language's name and a button that copies, and colours once the block is whole. */

import { copy } from "./clipboard.js";
import { cleanCode } from "./sanitizer.js";

// Colouring takes about 1 ms for 1,000 characters, at once.
const MAX_CHARS = 20_000;
const COPIED_MILLISECONDS = 2_000;

/** Put a frame around `pre`; return it. */
export function frame(pre, words) {
  const code = pre.firstElementChild;
  const language = languageOf(code);
  const outer = element("div", "sc-code");
  const bar = element("div", "sc-code-bar");
  const label = element("span", "sc-code-language", language);
  const button = element("button", "sc-copy", words.copy);
  button.type = "button";
  bar.append(label, button);
  pre.dir = "ltr";
  pre.tabIndex = 0;
  pre.setAttribute("role", "group");
  pre.setAttribute("aria-label", [words.code, language].filter(Boolean).join(" "));
  pre.replaceWith(outer);
  outer.append(bar, pre);
  return outer;
}

/** Copy the code whose button was clicked, exactly as it is shown, and say so on the button. */
export async function copyCode(button, words) {
  const { textContent } = button.closest(".sc-code").querySelector("code");
  if (!(await copy(textContent.replace(/\n$/, "")))) return;
  button.textContent = words.copied;
  setTimeout(() => {
    button.textContent = words.copy;
  }, COPIED_MILLISECONDS);
}

/** Colour the code in a finished block, when there is time. address: of the highlighter's module. */
export function highlight(block, address) {
  for (const code of block.querySelectorAll(".sc-code code[class]")) {
    if (code.textContent.length <= MAX_CHARS) whenIdle(() => colour(code, address));
  }
}

async function colour(code, address) {
  const text = code.textContent;
  let highlighter;
  try {
    highlighter = await load(address);
  } catch {
    // Code without colours is still code.
    return;
  }
  const html = highlighter.highlight(text, languageOf(code));
  if (html === null || !code.isConnected || code.textContent !== text || holdsSelection(code)) return;
  const coloured = cleanCode(html);
  if (coloured.textContent === text) code.replaceChildren(coloured);
}

const modules = new Map();

function load(address) {
  if (!modules.has(address)) modules.set(address, import(address));
  return modules.get(address);
}

function languageOf(code) {
  return code.className.replace("language-", "");
}

/** New nodes would take away what someone has just selected. */
function holdsSelection(node) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(node, true);
}

// Safari has no requestIdleCallback.
const whenIdle = globalThis.requestIdleCallback ?? ((call) => setTimeout(call, 50));

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
