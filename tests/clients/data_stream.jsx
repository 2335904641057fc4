/** A chat with @assistant-ui/react-data-stream, for tests/browser/test_react_example.py. */

import { AssistantRuntimeProvider, ComposerPrimitive, MessagePrimitive, ThreadPrimitive } from "@assistant-ui/react";
import { useDataStreamRuntime } from "@assistant-ui/react-data-stream";
import { createRoot } from "react-dom/client";

async function headers() {
  const response = await fetch("/chat/api/token");
  return { "X-CSRFToken": (await response.json()).csrf_token };
}

const Message = () => (
  <MessagePrimitive.Root asChild>
    <article>
      <MessagePrimitive.Parts />
    </article>
  </MessagePrimitive.Root>
);

function Chat() {
  const runtime = useDataStreamRuntime({ api: "/chat/ai/chat", headers, body: { id: "data-stream" } });
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

createRoot(document.getElementById("chat")).render(<Chat />);
