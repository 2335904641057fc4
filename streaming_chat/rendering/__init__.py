"""HTML: Markdown, the chat element, and the sentence that explains how a reply ended."""
