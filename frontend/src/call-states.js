/** The state of each tool call of a reply, from what has arrived of it. No DOM. */

/**
 * @import { ReplyContent } from "./reply-content.js"
 * @import { ApprovalCall, ToolCall, ToolResult } from "./types"
 */

/**
 * A call as the page shows it. state: the name of one of WORDS without "call_" (rendering/element.py), "" for a tool that the
 * provider runs itself. asked: set while it waits for an answer of the user's, or of staff if the user may not answer.
 *
 * @typedef {{call: ToolCall, state: string, result: ToolResult | undefined, asked: ApprovalCall | undefined}} ShownCall
 */

/**
 * Return the calls of a reply, in their order.
 *
 * @param {ReplyContent} content
 * @param {boolean} isLive
 * @returns {ShownCall[]}
 */
export function shownCalls(content, isLive) {
  return content.tools.map((call) => {
    const state = stateOf(call, content, isLive);
    const asked = state === "waiting" ? content.asked.get(call.id) : undefined;
    return { call, state, result: content.results.get(call.id), asked };
  });
}

/**
 * @param {ToolCall} call
 * @param {ReplyContent} content
 * @param {boolean} isLive
 */
function stateOf({ id, runs }, { answers, asked, hasSteps, results }, isLive) {
  if (runs === "provider") return "";
  const result = results.get(id);
  if (result) return result.status;
  // Without steps, the tools are a client's.
  if (!hasSteps || !isLive) return "requested";
  if (!asked.has(id)) return "running";
  const isAllowed = answers.get(id);
  if (isAllowed === undefined) return "waiting";
  return isAllowed ? "approved" : "denied";
}

/**
 * Whether a reply waits: some of its calls need an answer.
 *
 * @param {ShownCall[]} calls
 */
export function isWaiting(calls) {
  return calls.some(({ asked }) => asked);
}
