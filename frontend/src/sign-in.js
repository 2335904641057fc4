/** The way to the login page and back. */

import { keepText } from "./drafts.js";

/** @import { Config } from "./config.js" */

/**
 * Keep what a visitor has typed, and let the login lead back to here. A visitor's conversation is not the user's until the user has
 * agreed to keep it, so the chat page leads back to a new chat.
 *
 * @param {HTMLAnchorElement} link
 * @param {Config} config
 * @param {string} text
 */
export function carryTextOverSignIn(link, { root, isPage, isVisitor }, text) {
  if (isVisitor) keepText(root, text);
  const address = new URL(link.href);
  address.searchParams.set("next", isVisitor && isPage ? root : location.pathname + location.search);
  link.href = address.href;
}
