/** The browser module of streaming_chat: defines <streaming-chat>, once, even if a page loads the module twice. */

import { StreamingChat } from "./element.js";

if (!customElements.get("streaming-chat")) customElements.define("streaming-chat", StreamingChat);
