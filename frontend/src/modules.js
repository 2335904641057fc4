/** Modules that are loaded when they are needed, each once. */

/** @type {Map<string, Promise<any>>} */
const loading = new Map();
/** @type {Map<string, any>} */
const loaded = new Map();

/**
 * Load a module, unless that has begun already. Returns a promise of it.
 *
 * @param {string} address
 */
export function loadModule(address) {
  const module = loading.get(address) ?? import(address);
  if (!loading.has(address)) module.then((found) => loaded.set(address, found), () => {});
  loading.set(address, module);
  return module;
}

/**
 * Return a module that has been loaded, undefined for any other.
 *
 * @param {string} address
 */
export function loadedModule(address) {
  return loaded.get(address);
}
