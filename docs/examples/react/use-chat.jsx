/** A chat with useChat and nothing else. */

import { useChat } from "@ai-sdk/react";
import { getToolName, isToolUIPart } from "ai";
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { chatOptions, isWaiting, stopReply, tryAgain } from "./chat.js";
import { ToolCall } from "./tool-call.jsx";

const STATES = {
  "approval-requested": "waiting for your answer",
  "approval-responded": "answered",
  "output-available": "done",
  "output-denied": "not allowed",
  "output-error": "failed",
};

/** respond: addToolApprovalResponse of the chat. */
function Call({ part, respond }) {
  const answer = (approved) => respond({ id: part.approval.id, approved });
  return (
    <ToolCall
      name={getToolName(part)}
      state={STATES[part.state] ?? "running"}
      input={part.input}
      output={part.output ?? part.errorText}
      answer={part.state === "approval-requested" ? answer : undefined}
    />
  );
}

function Part({ part, respond }) {
  if (isToolUIPart(part)) return <Call part={part} respond={respond} />;
  if (part.type === "reasoning") return <details><summary>Reasoning</summary>{part.text}</details>;
  if (part.type === "source-url") return <a href={part.url}>{part.title ?? part.url}</a>;
  return part.type === "text" ? <p style={{ whiteSpace: "pre-wrap" }}>{part.text}</p> : null;
}

function Chat({ options }) {
  const chat = useChat(options);
  const [text, setText] = useState("");
  const isBusy = chat.status === "submitted" || chat.status === "streaming" || isWaiting(chat);
  const send = (event) => {
    event.preventDefault();
    void chat.sendMessage({ text });
    setText("");
  };
  return (
    <main data-status={chat.status}>
      {chat.messages.map(({ id, role, parts }) => (
        <article key={id} data-role={role}>
          {parts.map((part, index) => <Part key={index} part={part} respond={chat.addToolApprovalResponse} />)}
        </article>
      ))}
      {chat.error && <p role="alert">{chat.error.message} <button onClick={() => tryAgain(chat)}>Try again</button></p>}
      <form onSubmit={send}>
        <textarea aria-label="Message" value={text} onChange={(event) => setText(event.target.value)} />
        {isBusy ? (
          <button type="button" onClick={() => stopReply(chat)}>Stop</button>
        ) : (
          <button disabled={!text.trim()}>Send</button>
        )}
      </form>
    </main>
  );
}

createRoot(document.getElementById("chat")).render(<Chat options={await chatOptions()} />);
