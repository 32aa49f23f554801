"""The AI SDK: what `useChat` sends, and the stream that it reads."""
