/** A tool call: what is called, what came of it, and a question if the user must allow it. */

/**
 * state: of the call, in words. input, output: any JSON, undefined for none. answer: is called with whether the user allows
 * the call; undefined if nothing is asked.
 */
export function ToolCall({ name, state, input, output, answer }) {
  return (
    <section>
      <details open={Boolean(answer)}>
        <summary>{name}: {state}</summary>
        <pre>{JSON.stringify(input, null, 2)}</pre>
        {output !== undefined && <pre>{typeof output === "string" ? output : JSON.stringify(output, null, 2)}</pre>}
      </details>
      {answer && (
        <fieldset>
          <legend>Allow the call of {name}?</legend>
          <button type="button" onClick={() => answer(true)}>Allow</button>
          <button type="button" onClick={() => answer(false)}>Deny</button>
        </fieldset>
      )}
    </section>
  );
}
