// A front end without a framework: the AI SDK's chat and transport, with plain state instead of React's.

export const ai = await import(process.env.AI_SDK);

class State {
  status = "ready";
  error = undefined;

  constructor(messages) {
    this.messages = messages;
  }

  pushMessage = (message) => {
    this.messages = [...this.messages, message];
  };

  popMessage = () => {
    this.messages = this.messages.slice(0, -1);
  };

  replaceMessage = (index, message) => {
    this.messages = this.messages.with(index, message);
  };

  snapshot = (value) => structuredClone(value);
}

class Chat extends ai.AbstractChat {
  constructor({ messages = [], ...init }) {
    super({ ...init, state: new State(messages) });
  }
}

/** A new user of a running stack. */
export class User {
  constructor(id = crypto.randomUUID()) {
    this.headers = { "x-dev-user": id };
  }

  /** Returns a chat as `useChat` makes it; `errors` are those passed to its `onError`. */
  chat({ id, messages, body, api = `${process.env.STREAM_URL}/ai/chat`, transport } = {}) {
    const errors = [];
    transport ??= new ai.DefaultChatTransport({ api, body, headers: this.headers, fetch: browserFetch });
    return Object.assign(new Chat({ id, messages, transport, onError: (error) => errors.push(error) }), { errors });
  }

  /** Returns the stored messages of a conversation. */
  async stored(id) {
    const answer = await fetch(`${process.env.API_URL}/conversations/${id}/messages`, { headers: this.headers });
    return (await answer.json()).messages;
  }
}

/** Node's fetch with Chromium's messages for a lost connection: the AI SDK decides by these messages. */
async function browserFetch(url, init) {
  const withMessage = (message) => (error) => {
    throw error.name === "AbortError" ? error : new TypeError(message);
  };
  const response = await fetch(url, init).catch(withMessage("Failed to fetch"));
  const reader = response.body?.getReader();
  const body = reader && new ReadableStream({
    async pull(controller) {
      const { done, value } = await reader.read().catch(withMessage("network error"));
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return new Response(body, response);
}

/** Returns the content of a message, in the shape of the fixtures. */
export function contentOf(message) {
  const textOf = (type) => message.parts.filter((part) => part.type === type).map((part) => part.text).join("");
  return {
    text: textOf("text"),
    reasoning: textOf("reasoning"),
    citations: message.parts.filter((part) => part.type.startsWith("source-")).map(citation),
    tools: message.parts.filter((part) => part.type === "dynamic-tool").map(tool),
  };
}

/** Returns the same for a message of our API. */
export function storedContentOf(message) {
  const textOf = (type) => message.parts.filter((part) => part.type === type).map((part) => part.text).join("");
  const citations = message.parts.filter((part) => part.type === "citation");
  return { text: textOf("text"), reasoning: textOf("reasoning"), citations: citations.map(({ type, ...rest }) => rest), tools: [] };
}

/** Returns whether a part is still streaming. */
export const isOpen = (part) => part.state === "streaming";

function citation({ title, url, filename, providerMetadata }) {
  const citationFields = providerMetadata?.bedrock;
  const givenTitle = title === citationFields?.quote ? undefined : title; // the AI SDK requires a title, so a fact has its quote as title
  return withoutUndefined({ title: givenTitle, url, document: filename, ...citationFields });
}

const STATES = { "input-available": "call", "output-available": "result", "output-error": "error" };

function tool({ toolCallId, toolName, state, input, output, errorText }) {
  return withoutUndefined({ id: toolCallId, name: toolName, state: STATES[state], input, output, error: errorText });
}

const withoutUndefined = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
