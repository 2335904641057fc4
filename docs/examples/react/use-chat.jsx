/** A chat with useChat and nothing else. */

import { useChat } from "@ai-sdk/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { chatOptions, stopReply } from "./chat.js";

function Part({ part }) {
  if (part.type === "reasoning") return <details><summary>Reasoning</summary>{part.text}</details>;
  if (part.type === "source-url") return <a href={part.url}>{part.title ?? part.url}</a>;
  return part.type === "text" ? <p style={{ whiteSpace: "pre-wrap" }}>{part.text}</p> : null;
}

function Chat({ options }) {
  const chat = useChat(options);
  const [text, setText] = useState("");
  const isBusy = chat.status === "submitted" || chat.status === "streaming";
  const send = (event) => {
    event.preventDefault();
    void chat.sendMessage({ text });
    setText("");
  };
  return (
    <main data-status={chat.status}>
      {chat.messages.map(({ id, role, parts }) => (
        <article key={id} data-role={role}>{parts.map((part, index) => <Part key={index} part={part} />)}</article>
      ))}
      {chat.error && <p role="alert">{chat.error.message} <button onClick={() => chat.regenerate()}>Try again</button></p>}
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
