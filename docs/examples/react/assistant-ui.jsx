/** The same chat with the components of assistant-ui. */

import { useChat } from "@ai-sdk/react";
import { useAISDKRuntime } from "@assistant-ui/ai-sdk";
import { AssistantRuntimeProvider, ComposerPrimitive, MessagePrimitive, ThreadPrimitive } from "@assistant-ui/react";
import { createRoot } from "react-dom/client";
import { chatOptions } from "./chat.js";
import { ToolCall } from "./tool-call.jsx";

/** @returns {string} the state of a call in words. */
function stateOf({ approval, result, isError }) {
  if (approval && approval.approved === undefined) return "waiting for your answer";
  if (approval?.approved === false) return "not allowed";
  if (result === undefined) return approval ? "answered" : "running";
  return isError ? "failed" : "done";
}

function Call(part) {
  const isAsked = part.approval && part.approval.approved === undefined;
  const answer = isAsked ? (approved) => part.respondToApproval({ approved }) : undefined;
  return <ToolCall name={part.toolName} state={stateOf(part)} input={part.args} output={part.result} answer={answer} />;
}

const Message = () => (
  <MessagePrimitive.Root asChild>
    <article>
      <MessagePrimitive.Parts components={{ tools: { Fallback: Call } }} />
      <MessagePrimitive.Error>
        <p role="alert">This reply could not be completed.</p>
      </MessagePrimitive.Error>
    </article>
  </MessagePrimitive.Root>
);

function Chat({ options }) {
  const chat = useChat(options);
  // The app refuses a message while a reply waits: its calls are not cancelled by sending one.
  const runtime = useAISDKRuntime(chat, { cancelPendingToolCallsOnSend: false });
  return (
    <AssistantRuntimeProvider runtime={runtime}>
      <ThreadPrimitive.Root>
        <ThreadPrimitive.Messages components={{ Message }} />
        <ComposerPrimitive.Root>
          <ComposerPrimitive.Input aria-label="Message" />
          <ComposerPrimitive.Send>Send</ComposerPrimitive.Send>
        </ComposerPrimitive.Root>
      </ThreadPrimitive.Root>
    </AssistantRuntimeProvider>
  );
}

createRoot(document.getElementById("chat")).render(<Chat options={await chatOptions()} />);
