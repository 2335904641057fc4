/**
 * JSON as text that people read and change, as rendering/shown_json.py shows it. It is never parsed and written again, which would
 * change numbers with many digits and hide a name that occurs twice: what is allowed must be what is shown.
 */

const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g;
const ESCAPES = /\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\./g;
const INDENT = "  ";
// Beyond this depth, lines would be longer by their indentation than by what they say.
const DEEPEST = 20;
// Characters without a width, and characters that turn the direction of what follows: they could make a text look like another one.
const UNSEEN =
  /[\u00ad\u061c\u115f\u1160\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\u{e0000}-\u{e0fff}]|\u034f|[\u17b4\u17b5]|[\u180b-\u180f]/gu;
// What stays an escape: control characters, quotes, backslashes and halves of pairs.
const KEPT = /[\p{Cc}"\\\p{Surrogate}]/u;

/**
 * Return JSON with a line for each member, and any other text as it is. In JSON, the escapes of letters are written as letters. In
 * both, characters that cannot be seen are written as escapes, `\\u202e`.
 *
 * @param {string} text
 */
export function shownJson(text) {
  return (parsed(text) === undefined ? text : indented(text)).replace(UNSEEN, escaped);
}

/** @param {string} text */
function indented(text) {
  const tokens = text.match(TOKENS) ?? [];
  let depth = 0;
  return tokens.map((token, index) => {
    if (isOpening(token)) {
      depth += 1;
      return isClosing(tokens[index + 1]) ? token : token + lineBreak(depth);
    }
    if (isClosing(token)) {
      depth -= 1;
      return isOpening(tokens[index - 1]) ? token : lineBreak(depth) + token;
    }
    if (token === ",") return token + lineBreak(depth);
    return token === ":" ? ": " : token.replace(ESCAPES, unescaped);
  }).join("");
}

/**
 * Return whether a text is a JSON object.
 *
 * @param {string} text
 */
export function isObject(text) {
  const value = parsed(text);
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Return whether two texts are the same JSON, white space apart.
 *
 * @param {string} text
 * @param {string} other
 */
export function isSame(text, other) {
  return JSON.stringify(text.match(TOKENS)) === JSON.stringify(other.match(TOKENS));
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param {string | undefined} token */
function isOpening(token) {
  return token === "{" || token === "[";
}

/** @param {string | undefined} token */
function isClosing(token) {
  return token === "}" || token === "]";
}

/** @param {number} depth */
function lineBreak(depth) {
  return `\n${INDENT.repeat(Math.min(depth, DEEPEST))}`;
}

/**
 * Return the character of an escape if it can be written as itself.
 *
 * @param {string} escape
 */
function unescaped(escape) {
  if (!escape.startsWith("\\u")) return escape;
  const character = JSON.parse(`"${escape}"`);
  return KEPT.test(character) ? escape : character;
}

/** @param {string} character */
function escaped(character) {
  return [...Array(character.length).keys()].map((index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`).join("");
}
