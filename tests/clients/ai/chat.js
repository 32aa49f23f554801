// A front end without a framework: the AI SDK's own chat and transport, with plain state instead of React's.

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

/** A user of their own, at the doors of a running stack. */
export class Person {
  constructor(id = crypto.randomUUID()) {
    this.headers = { "x-dev-user": id };
  }

  /** A chat as `useChat` would make it; `errors` is what its `onError` was told. */
  chat({ id, messages, body, api = `${process.env.STREAM_URL}/ai/chat`, transport } = {}) {
    const errors = [];
    transport ??= new ai.DefaultChatTransport({ api, body, headers: this.headers, fetch: browserFetch });
    return Object.assign(new Chat({ id, messages, transport, onError: (error) => errors.push(error) }), { errors });
  }

  /** The conversation's messages as they are stored. */
  async stored(id) {
    const answer = await fetch(`${process.env.API_URL}/conversations/${id}/messages`, { headers: this.headers });
    return (await answer.json()).messages;
  }
}

/** Node's fetch with Chromium's words for a connection that is lost: the AI SDK tells by them what to do. */
async function browserFetch(url, init) {
  const inBrowserWords = (words) => (error) => {
    throw error.name === "AbortError" ? error : new TypeError(words);
  };
  const response = await fetch(url, init).catch(inBrowserWords("Failed to fetch"));
  const reader = response.body?.getReader();
  const body = reader && new ReadableStream({
    async pull(controller) {
      const { done, value } = await reader.read().catch(inBrowserWords("network error"));
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return new Response(body, response);
}

/** What a message says, in the fixtures' shape. */
export function read(message) {
  const said = (type) => message.parts.filter((part) => part.type === type).map((part) => part.text).join("");
  return {
    text: said("text"),
    reasoning: said("reasoning"),
    citations: message.parts.filter((part) => part.type.startsWith("source-")).map(citation),
    tools: message.parts.filter((part) => part.type === "dynamic-tool").map(tool),
  };
}

/** The same of a message as our routes return it. */
export function readStored(message) {
  const said = (type) => message.parts.filter((part) => part.type === type).map((part) => part.text).join("");
  const citations = message.parts.filter((part) => part.type === "citation");
  return { text: said("text"), reasoning: said("reasoning"), citations: citations.map(({ type, ...rest }) => rest), tools: [] };
}

/** Whether a part is still being spoken. */
export const isOpen = (part) => part.state === "streaming";

function citation({ title, url, filename, providerMetadata }) {
  const ours = providerMetadata?.bedrock;
  const named = title === ours?.quote ? undefined : title; // a document must have a title: a fact's is its quote
  return present({ title: named, url, document: filename, ...ours });
}

const STATES = { "input-available": "call", "output-available": "result", "output-error": "error" };

function tool({ toolCallId, toolName, state, input, output, errorText }) {
  return present({ id: toolCallId, name: toolName, state: STATES[state], input, output, error: errorText });
}

const present = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
