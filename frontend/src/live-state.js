/**
 * The states of a live reply, and the table of its transitions. No DOM, no network.
 *
 * LiveReply (live-reply.js) reports what happens as an event; the table says which state follows.
 */

export const State = Object.freeze({
  /** The message is on its way; the server has not named the reply yet. */
  SENDING: "sending",
  /** Sending failed and is repeated after a pause. */
  RETRYING: "retrying",
  /** The user pressed Stop before the server named the reply. */
  STOP_REQUESTED: "stop requested",
  /** The server writes the reply, and the page draws it. */
  STREAMING: "streaming",
  /** The server was asked to stop the reply. The page draws nothing more until it has answered. */
  STOPPING: "stopping",
  /** The reply has ended. */
  ENDED: "ended",
  /** The page has turned to something else; the reply continues on the server. */
  LEFT: "left",
  /** The user stopped the message before the server had it. */
  CANCELLED: "cancelled",
  /** The server refused the message, or an error came before the reply was named. */
  REFUSED: "refused",
  /** The page cannot follow the reply any more. */
  BROKEN: "broken",
});

export const LiveEvent = Object.freeze({
  /** The server has named the reply. It says so again when a stream starts from the beginning. */
  STARTED: "started",
  /** A response has begun. */
  CONNECTED: "connected",
  /** The connection failed; there will be another attempt. */
  CONNECTION_LOST: "connection lost",
  /** The user pressed Stop. */
  STOP: "stop",
  /** The request to stop failed. */
  STOP_FAILED: "stop failed",
  /** The reply's ending is known. */
  ENDED: "ended",
  /** Following stopped with an error. */
  FAILED: "failed",
  /** The page turns to something else. */
  LEAVE: "leave",
});

/** @typedef {(typeof State)[keyof typeof State]} StateName */
/** @typedef {(typeof LiveEvent)[keyof typeof LiveEvent]} EventName */

/**
 * Of each state, the events that can happen in it and the state after each. A response that begins, and the answer to a stop,
 * may still arrive when the page has turned to something else.
 *
 * @type {Readonly<Record<StateName, Readonly<Partial<Record<EventName, StateName>>>>>}
 */
export const TRANSITIONS = Object.freeze({
  [State.SENDING]: Object.freeze({
    [LiveEvent.STARTED]: State.STREAMING,
    [LiveEvent.CONNECTED]: State.SENDING,
    [LiveEvent.CONNECTION_LOST]: State.RETRYING,
    [LiveEvent.STOP]: State.STOP_REQUESTED,
    [LiveEvent.FAILED]: State.REFUSED,
    [LiveEvent.LEAVE]: State.LEFT,
  }),
  [State.RETRYING]: Object.freeze({
    [LiveEvent.STARTED]: State.STREAMING,
    [LiveEvent.CONNECTED]: State.SENDING,
    [LiveEvent.CONNECTION_LOST]: State.RETRYING,
    [LiveEvent.STOP]: State.CANCELLED,
    [LiveEvent.FAILED]: State.REFUSED,
    [LiveEvent.LEAVE]: State.LEFT,
  }),
  [State.STOP_REQUESTED]: Object.freeze({
    [LiveEvent.STARTED]: State.STOPPING,
    [LiveEvent.CONNECTED]: State.STOP_REQUESTED,
    [LiveEvent.CONNECTION_LOST]: State.CANCELLED,
    [LiveEvent.FAILED]: State.REFUSED,
    [LiveEvent.LEAVE]: State.LEFT,
  }),
  [State.STREAMING]: Object.freeze({
    [LiveEvent.STARTED]: State.STREAMING,
    [LiveEvent.CONNECTED]: State.STREAMING,
    [LiveEvent.CONNECTION_LOST]: State.STREAMING,
    [LiveEvent.STOP]: State.STOPPING,
    [LiveEvent.ENDED]: State.ENDED,
    [LiveEvent.FAILED]: State.BROKEN,
    [LiveEvent.LEAVE]: State.LEFT,
  }),
  [State.STOPPING]: Object.freeze({
    [LiveEvent.STARTED]: State.STOPPING,
    [LiveEvent.CONNECTED]: State.STOPPING,
    [LiveEvent.CONNECTION_LOST]: State.STOPPING,
    [LiveEvent.STOP_FAILED]: State.STREAMING,
    [LiveEvent.ENDED]: State.ENDED,
    [LiveEvent.FAILED]: State.BROKEN,
    [LiveEvent.LEAVE]: State.LEFT,
  }),
  [State.ENDED]: Object.freeze({
    [LiveEvent.CONNECTED]: State.ENDED,
    [LiveEvent.STOP_FAILED]: State.ENDED,
    [LiveEvent.FAILED]: State.BROKEN,
    [LiveEvent.LEAVE]: State.ENDED,
  }),
  [State.LEFT]: Object.freeze({
    [LiveEvent.CONNECTED]: State.LEFT,
    [LiveEvent.STOP_FAILED]: State.LEFT,
    [LiveEvent.ENDED]: State.ENDED,
    [LiveEvent.LEAVE]: State.LEFT,
  }),
  [State.CANCELLED]: Object.freeze({
    [LiveEvent.CONNECTED]: State.CANCELLED,
    [LiveEvent.LEAVE]: State.CANCELLED,
  }),
  [State.REFUSED]: Object.freeze({
    [LiveEvent.LEAVE]: State.REFUSED,
  }),
  [State.BROKEN]: Object.freeze({
    [LiveEvent.STOP_FAILED]: State.BROKEN,
    [LiveEvent.ENDED]: State.ENDED,
    [LiveEvent.LEAVE]: State.BROKEN,
  }),
});

/**
 * Whether a reply with this status, as the API has it, goes on: it is being written, or waits for an answer.
 *
 * @param {string | null | undefined} status
 */
export function isLive(status) {
  return status === "streaming" || status === "waiting";
}

/**
 * Whether an event can happen in a state.
 *
 * @param {StateName} state
 * @param {EventName} event
 */
export function allows(state, event) {
  return event in TRANSITIONS[state];
}

/**
 * Return the state after an event. Throws Error for an event that cannot happen in this state.
 *
 * @param {StateName} state
 * @param {EventName} event
 * @returns {StateName}
 */
export function next(state, event) {
  const after = TRANSITIONS[state][event];
  if (!after) throw new Error(`A live reply that is ${state} cannot take the event "${event}".`);
  return after;
}
