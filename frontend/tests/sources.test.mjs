import assert from "node:assert/strict";
import { test } from "node:test";

import { distinct, linkOf } from "../src/sources.js";

function source(values) {
  return { url: "", title: "", id: "", text: "", origin: "provider", ...values };
}

test("a source that is cited again keeps its number", () => {
  const rain = source({ url: "https://e.example/rain", title: "Rain" });
  const snow = source({ url: "https://e.example/snow", title: "Snow" });
  assert.deepEqual(distinct([rain, snow, { ...rain, text: "Again." }]), [rain, snow]);
});

test("only addresses of the web, and paths that the site gave, are links", () => {
  for (const url of ["https://e.example", "HTTP://e.example/a"]) assert.equal(linkOf(source({ url })), url);
  assert.equal(linkOf(source({ url: "/a", origin: "context" })), "/a");
  const unsafe = ["", "/a", "//e.example", "javascript:alert(1)", "data:text/html,x", "https:", "https:///a", " https://e.example"];
  for (const url of unsafe) assert.equal(linkOf(source({ url })), "", url);
  for (const url of ["//e.example", "/\\e.example", "/\t/e.example"]) assert.equal(linkOf(source({ url, origin: "context" })), "", url);
});
