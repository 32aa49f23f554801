/** @import { AnswerState, Citation, MessagePart, Part, Tool } from "./converse-stream.js" */

/** @type {AnswerState} */
export const EMPTY = { text: "", reasoning: "", citations: [], tools: [], parts: [], position: 0 };

/** @type {typeof import("./converse-stream.js").fold} */
export function fold(state = EMPTY, event, position) {
  switch (event.type) {
    case "start": {
      const { type, ...ids } = event;
      return { ...state, ...ids };
    }
    case "chunk":
      return append(state, { type: "text", text: event.content }, [...event.content].length, position);
    case "reasoning":
      return append(state, { type: "reasoning", text: event.content }, [...event.content].length, position);
    case "citation":
    case "tool":
      return append(state, event, 1, position);
    case "rollback":
      return truncate(state, event.position);
    case "complete": {
      const { aiMessage: message, finishReason, usage } = event;
      return { ...state, message, finishReason, usage };
    }
    case "error": {
      const { type, ...error } = event;
      return { ...state, error };
    }
    default:
      return { ...state, position: position ?? state.position }; // an unknown event may be in the log too
  }
}

/**
 * @param {AnswerState} state
 * @param {MessagePart} part
 * @param {number} length
 * @param {number} [end]
 */
function append(state, part, length, end = state.position + length) {
  const start = end - length;
  const last = state.parts.at(-1);
  const joins = last && "text" in last && "text" in part && last.type === part.type && state.position === start;
  const parts = joins
    ? [...state.parts.slice(0, -1), { ...last, text: last.text + part.text }]
    : [...state.parts, { ...part, position: start }];
  return withParts(state, parts, end);
}

/**
 * @param {AnswerState} state
 * @param {number} position
 */
function truncate(state, position) {
  const parts = state.parts
    .filter((part) => part.position < position)
    .map((part) => ("text" in part ? { ...part, text: first(part.text, position - part.position) } : part));
  return withParts(state, parts, position);
}

/**
 * The state with these parts, and with text, reasoning, citations and tools made from them.
 * @param {AnswerState} state
 * @param {Part[]} parts
 * @param {number} position
 * @returns {AnswerState}
 */
function withParts(state, parts, position) {
  const texts = { text: "", reasoning: "" };
  /** @type {Citation[]} */
  const citations = [];
  /** @type {Map<string, Tool>} */
  const tools = new Map();
  for (const { position, ...part } of parts) {
    if ("text" in part) texts[part.type] += part.text;
    else {
      const { type, ...fields } = part;
      if ("id" in fields) tools.set(fields.id, { ...tools.get(fields.id), ...fields });
      else citations.push(fields);
    }
  }
  return { ...state, ...texts, citations, tools: [...tools.values()], parts, position };
}

/**
 * @param {string} text
 * @param {number} length code points
 */
const first = (text, length) => [...text].slice(0, length).join("");
