"""The AI SDK: the requests of `useChat`, and the stream that it reads."""
