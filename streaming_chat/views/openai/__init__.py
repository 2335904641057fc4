"""The API of OpenAI's chat completions, for its SDKs and every client that speaks it."""
