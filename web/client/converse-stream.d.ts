/** The public interface. The JavaScript beside it is checked against it by `tsc`. What the server says is generated. */

import type {
  CitationEvent,
  CompleteEvent as ServerComplete,
  ErrorEvent as ServerError,
  FinishReason,
  Message,
  MessagePart,
  Options as ModelOptions,
  StreamEvent as ServerEvent,
  ToolEvent,
  Usage,
} from "./protocol.js";

/** Bodies of the buffered routes, and the server's events. */
export type {
  ChunkEvent,
  CitationEvent,
  Conversation,
  ConversationChange,
  ConversationPage,
  Fact,
  FactList,
  FinishReason,
  Message,
  MessagePage,
  MessagePart,
  NewConversation,
  NewFact,
  NewProfile,
  Options as ModelOptions,
  Profile,
  ProfileChange,
  ProgressEvent,
  PromptPreview,
  ReasoningEvent,
  RollbackEvent,
  StartEvent,
  ToolEvent,
  Usage,
} from "./protocol.js";

export interface ClientOptions {
  /** The door that streams: the Function URL, the REST API's stage, or one host in front of both. */
  url: string;
  /** The door of the buffered routes: API Gateway. `url` when left out. */
  apiUrl?: string | undefined;
  /**
   * A bearer token. Asked before each request, and once more after a 401. Where it throws, the server counts as
   * unreachable and the request is tried again; a `ConverseError` is passed on at once. Without one (undefined, "")
   * the request is sent as it is, and refused.
   */
  token?: (() => string | undefined | Promise<string | undefined>) | undefined;
  /** `x-authorization` where something in front signs with `authorization` itself. */
  tokenHeader?: "authorization" | "x-authorization" | undefined;
  /** Send the body's SHA-256 as `x-amz-content-sha256`, as CloudFront's origin access control asks. */
  signBody?: boolean | undefined;
  /** Sent with every request. */
  headers?: Record<string, string> | undefined;
  fetch?: typeof fetch | undefined;
  /** `X-Client-Id`: at most one reader for each. Random for each client when left out. */
  clientId?: string | undefined;
}

export interface TurnOptions {
  model?: string | undefined;
  options?: ModelOptions | undefined;
  /** Stop the model when the page is left. */
  stopOnLeave?: boolean | undefined;
}

export interface SendOptions extends TurnOptions {
  text: string;
  /** `[A-Za-z0-9_-]{8,64}`; a new conversation when left out. */
  conversationId?: string | undefined;
}

export interface ResumeOptions {
  /** The last answer's `cursor`; without one, what is being made is sent from its begin. */
  cursor?: string | undefined;
  stopOnLeave?: boolean | undefined;
}

export declare class ConverseStream {
  constructor(options: ClientOptions);

  /** Sends a message, once however often the line drops. */
  send(options: SendOptions): Answer;
  /** Has the last message answered again. */
  regenerate(conversationId: string, options?: TurnOptions): Answer;
  /** Has the last answer gone on with. */
  continue(conversationId: string, options?: TurnOptions): Answer;
  /** Follows what is being made, or was; ends at once, without an event, when nothing is. */
  resume(conversationId: string, options?: ResumeOptions): Answer;
  /**
   * Stops the model: the named generation, or whatever is being made. Without a name a 404 is asked again for 10 s,
   * because the message may still be on its way. Rejects with a ConverseError.
   */
  stop(conversationId: string, generationId?: string): Promise<void>;

  /** The buffered routes. `undefined` for an empty answer. They reject with a ConverseError. */
  get<T = any>(path: string): Promise<T>;
  post<T = any>(path: string, body?: unknown): Promise<T>;
  put<T = any>(path: string, body?: unknown): Promise<T>;
  patch<T = any>(path: string, body?: unknown): Promise<T>;
  delete<T = any>(path: string): Promise<T>;
}

/**
 * An answer as it comes. It is read whether or not somebody iterates; leaving the loop leaves the answer.
 * Iterating throws a ConverseError when the request is refused or the server stays out of reach.
 */
export declare class Answer implements AsyncIterable<StreamEvent> {
  private constructor();
  readonly conversationId: string;
  /** Known from `start` on. */
  readonly generationId: string | undefined;
  /** Where to go on from, `<generation>:<position>`; known from `start` on. */
  readonly cursor: string | undefined;
  readonly metrics: Metrics;
  /** The folded answer, however it ended. Never rejects: `error` says what went wrong. */
  readonly finished: Promise<AnswerState>;
  /** Stops the model; the answer ends with `complete`, `cancelled`. Rejects with a ConverseError. */
  stop(): Promise<void>;
  /** Ends here only: the server goes on, and `resume` finds it. */
  leave(): void;
  [Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined>;
}

/** Milliseconds, as measured here, from the call on; what is not known, or was not seen from its begin, is absent. */
export interface Metrics {
  firstTokenMs?: number;
  tokensPerSecond?: number;
  durationMs?: number;
}

/** The server's; where the answer comes from the stored messages, without what only a stream tells. */
export interface CompleteEvent
  extends Pick<ServerComplete, "type" | "finishReason" | "aiMessage">,
    Partial<Pick<ServerComplete, "userMessage" | "usage" | "metrics">> {}
/** The server's, or one of the client's own, which has no request. */
export interface ErrorEvent extends Omit<ServerError, "requestId">, Partial<Pick<ServerError, "requestId">> {}
/** Ours, not the server's: how the line is. `buffered` waits for the answer in one piece. */
export interface ConnectionEvent {
  type: "connection";
  state: "connecting" | "open" | "waiting" | "buffered";
  retryInMs?: number | undefined;
}

/** Types that are not listed here, and fields, are passed on as they came. */
export type StreamEvent =
  | Exclude<ServerEvent, ServerComplete | ServerError>
  | CompleteEvent
  | ErrorEvent
  | ConnectionEvent;

export type Citation = Omit<CitationEvent, "type">;
export type Tool = Omit<ToolEvent, "type">;

/** A part, and the position at which it begins. Each event of a tool is a part; `tools` has them joined. */
export type Part = MessagePart & { position: number };

export interface Failure {
  code: string;
  message: string;
  retryable: boolean;
  requestId?: string | undefined;
  /** Of the answer, where what had come of it is stored. */
  messageId?: string | undefined;
}

/** An answer so far. */
export interface AnswerState {
  conversationId?: string;
  messageId?: string;
  generationId?: string;
  model?: string;
  text: string;
  reasoning: string;
  citations: Citation[];
  tools: Tool[];
  parts: Part[];
  /** The answer's end: code points of text and of reasoning, and 1 for any other logged event. */
  position: number;
  /** As it is stored. */
  message?: Message;
  finishReason?: FinishReason;
  usage?: Usage;
  error?: Failure;
}

/**
 * The answer after one more event; pure. `undefined` begins one. `position` is where the event ends, for events whose
 * `id` says so; without it the event's own length counts.
 */
export declare function fold(state: AnswerState | undefined, event: StreamEvent, position?: number): AnswerState;

/** What the server refused, or `unreachable` (status 0) when there was no answer. */
export declare class ConverseError extends Error implements Failure {
  constructor(failure: Failure & { status: number; field?: string; retryAfterMs?: number }, options?: ErrorOptions);
  readonly code: string;
  readonly status: number;
  readonly retryable: boolean;
  readonly requestId: string | undefined;
  readonly messageId: string | undefined;
  /** The request's field that is wrong. */
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;
}

/** What this browser can do. Without `streaming` answers come in one piece; `signBody` needs `signing`. */
export declare function features(): { streaming: boolean; signing: boolean };
