/** The modules that are loaded when they are needed; the page says where its static files are. */

const HERE = new URL(".", import.meta.url).href;

/** Return the address, "" for one that is not beside this module: an attribute decides what runs nowhere else. */
export function beside(address) {
  const url = new URL(address, HERE);
  if (new URL(".", url).href === HERE) return url.href;
  console.error(`streaming_chat: a module in ${HERE} was wanted, got ${url.href}.`);
  return "";
}
