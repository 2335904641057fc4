/** Removes everything that is not on the allow-list from a reply's HTML, whatever made it. The server has the same list. */

import createPurifier from "dompurify";

import markup from "../../../streaming_chat/rendering/allowed_html.json" with { type: "json" };

/** @type {Record<string, string>} What an attribute may hold, by "tag attribute"; any other may have any value. */
const VALUES = markup.values;
const NOTE_ADDRESS = `${markup.note_address}$`;
const TOKEN = /^hljs-[\w -]+$/;
// Trusted Types: the parser takes HTML from a policy only. The policy may pass everything, since DOMPurify alone uses it.
/** @type {any} */
const { trustedTypes } = window;
const policy = trustedTypes?.createPolicy("streaming-chat", {
  createHTML: (/** @type {string} */ html) => html,
  createScriptURL: () => "",
});

/** Return a DocumentFragment of what the allow-list keeps of a reply's HTML. */
export const clean = sanitizer(markup.attributes, (attribute, value) => new RegExp(`^${VALUES[attribute] ?? "[^]*"}$`).test(value));

/** Return a DocumentFragment of highlighted code: text, and spans with highlight.js's own classes. */
export const cleanCode = sanitizer({ span: ["class"] }, (_attribute, value) => TOKEN.test(value));

/**
 * @param {Record<string, string[]>} attributes The allowed attributes, by the name of the element.
 * @param {(attribute: string, value: string) => boolean} isAllowed Decides about "tag attribute" and its value.
 * @returns {(html: string) => DocumentFragment}
 */
function sanitizer(attributes, isAllowed) {
  const purifier = createPurifier(/** @type {any} */ (window));
  const names = [...new Set(Object.values(attributes).flat())];
  const options = {
    ALLOWED_TAGS: [...Object.keys(attributes), "#text"],
    ALLOWED_ATTR: names,
    // DOMPurify treats the value of any other attribute as an address.
    ADD_URI_SAFE_ATTR: names.filter((name) => name !== "href"),
    ALLOWED_URI_REGEXP: new RegExp(`^(?:${markup.address}|${NOTE_ADDRESS})`, "i"),
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
    ...(policy && { TRUSTED_TYPES_POLICY: policy }),
  };
  purifier.addHook("uponSanitizeAttribute", ({ localName }, attribute) => {
    const { attrName, attrValue } = attribute;
    attribute.keepAttr = Boolean(attributes[localName]?.includes(attrName)) && isAllowed(`${localName} ${attrName}`, attrValue);
  });
  purifier.addHook("afterSanitizeAttributes", (element) => {
    if (element.localName !== "a" || !element.hasAttribute("href")) return;
    if (element.getAttribute("href")?.startsWith("#")) return;
    element.setAttribute("rel", markup.rel);
    element.setAttribute("target", "_blank");
  });
  // Sets the options once for all calls.
  purifier.setConfig(options);
  return (html) => /** @type {any} */ (purifier.sanitize(html));
}
