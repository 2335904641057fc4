/** Addresses of modules that are loaded when they are needed. */

const FOLDER = new URL(".", import.meta.url).href;

/**
 * Return the address of a module in this module's own folder, "" for any other: an attribute of the page must not decide which code
 * runs.
 *
 * @param {string | undefined} address
 */
export function trustedModule(address) {
  const url = new URL(address ?? "", FOLDER);
  if (new URL(".", url).href === FOLDER) return url.href;
  console.error(`streaming_chat: expected a module in ${FOLDER}, got ${url.href}.`);
  return "";
}
