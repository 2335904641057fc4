/** The browser module of streaming_chat: defines <streaming-chat>, once, however often a page names the file. */

import { StreamingChat } from "./element.js";

if (!customElements.get("streaming-chat")) customElements.define("streaming-chat", StreamingChat);
