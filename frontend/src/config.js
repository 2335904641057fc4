/** What the server wrote into the attributes of <streaming-chat>. */

import { trustedModule } from "./trusted-module.js";

/** @typedef {ReturnType<typeof readConfig>} Config */

/** @param {HTMLElement} element */
export function readConfig(element) {
  const { dataset } = element;
  const root = element.getAttribute("root") ?? "";
  const layout = element.getAttribute("layout");
  const owner = dataset.owner ?? "";
  return {
    /** The app's address, ending in a slash. */
    root,
    isPage: layout === "page",
    isCorner: layout === "corner",
    /** Whether the user has not signed in. */
    isVisitor: owner === "visitor",
    /** Whether the user is a visitor whom the server does not know yet. */
    isStranger: "stranger" in dataset,
    /** Whether there may be conversations from before the sign-in. */
    mayHaveVisitorConversations: "claim" in dataset,
    /** Separates what this browser stores of different elements and users. */
    scope: `${root}:${element.getAttribute("name")}:${owner}`,
    /** Separates what all tabs share of different apps and users. */
    sharedScope: `${root}:${owner}`,
    /** What the page tells about itself, signed; "" for nothing. */
    pageContext: dataset.context ?? "",
    csrfHeader: dataset.csrfHeader ?? "",
    /** Seconds without a byte after which a connection counts as dead. */
    silence: Number(dataset.silence),
    modules: {
      markdown: trustedModule(dataset.markdown),
      highlighter: trustedModule(dataset.highlighter),
      typesetter: trustedModule(dataset.typesetter),
    },
    texts: JSON.parse(dataset.words ?? "{}"),
    language: /** @type {HTMLElement | null} */ (element.closest("[lang]"))?.lang,
  };
}
