/** The allow-list, which has the last word over whatever the Markdown library gave. The server has the same one. */

import createPurifier from "dompurify";

import markup from "../../../streaming_chat/rendering/markup.json" with { type: "json" };

const LANGUAGE = new RegExp(`^${markup.language}$`);
const TOKEN = /^hljs-[\w -]+$/;
// A parser needs HTML of a type that says who made it. It goes to no other sink, so the policy may let all of it pass.
const policy = globalThis.trustedTypes?.createPolicy("streaming-chat", {
  createHTML: (html) => html,
  createScriptURL: () => "",
});

/** Return a DocumentFragment of what the allow-list keeps of a reply's HTML. */
export const clean = sanitizer(markup.attributes, (tag, name, value) => name !== "class" || LANGUAGE.test(value));

/** Return a DocumentFragment of highlighted code: text, and spans with highlight.js's own classes. */
export const cleanCode = sanitizer({ span: ["class"] }, (tag, name, value) => TOKEN.test(value));

function sanitizer(attributes, isKept) {
  const purifier = createPurifier(window);
  const names = [...new Set(Object.values(attributes).flat())];
  const options = {
    ALLOWED_TAGS: [...Object.keys(attributes), "#text"],
    ALLOWED_ATTR: names,
    // DOMPurify takes the value of any other attribute for an address.
    ADD_URI_SAFE_ATTR: names.filter((name) => name !== "href"),
    ALLOWED_URI_REGEXP: new RegExp(`^${markup.address}`, "i"),
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
    ...(policy && { TRUSTED_TYPES_POLICY: policy }),
  };
  purifier.addHook("uponSanitizeAttribute", ({ localName }, attribute) => {
    const { attrName, attrValue } = attribute;
    attribute.keepAttr = Boolean(attributes[localName]?.includes(attrName)) && isKept(localName, attrName, attrValue);
  });
  purifier.addHook("afterSanitizeAttributes", (element) => {
    if (element.localName !== "a" || !element.hasAttribute("href")) return;
    element.setAttribute("rel", markup.rel);
    element.setAttribute("target", "_blank");
  });
  // Options are read once; the hooks stay.
  purifier.setConfig(options);
  return (html) => purifier.sanitize(html);
}
