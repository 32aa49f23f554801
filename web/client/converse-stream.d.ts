/** The public interface. `tsc` checks the JavaScript files against it. The types of the server are generated. */

import type {
  CitationEvent,
  CompleteEvent as ServerComplete,
  ErrorEvent as ServerError,
  FinishReason,
  Message,
  MessagePart,
  ModelList,
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
  ModelInfo,
  ModelList,
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
  /** The entry point that streams: the Function URL, the stage of the REST API, or the web host. */
  url: string;
  /** The entry point of the buffered routes: the HTTP API. Default: `url`. */
  apiUrl?: string | undefined;
  /**
   * Returns a bearer token. Called before each request, and once more after a 401. If it throws a `ConverseError`, the
   * request fails with it. After another error the request is repeated, as if the server were unreachable. Without a
   * token (undefined, "") the request is sent without one.
   */
  token?: (() => string | undefined | Promise<string | undefined>) | undefined;
  /** Use `x-authorization` if a service in front, such as CloudFront, signs with `authorization`. */
  tokenHeader?: "authorization" | "x-authorization" | undefined;
  /** Send the SHA-256 of the body as `x-amz-content-sha256`. CloudFront's origin access control needs it. */
  signBody?: boolean | undefined;
  /** Sent with each request. */
  headers?: Record<string, string> | undefined;
  fetch?: typeof fetch | undefined;
  /** `X-Client-Id`: one follower at a time for each id. Default: a random id for each client. */
  clientId?: string | undefined;
}

export interface TurnOptions {
  model?: string | undefined;
  options?: ModelOptions | undefined;
  /** The offset of the user's time from UTC, for the date that the model gets: `+02:00`. Default: the browser's. */
  utcOffset?: string | undefined;
  /**
   * The user's own key for Bedrock, 1 to 4096 visible ASCII characters: the answer is billed to it. It is sent with this
   * message only, and not stored.
   */
  bedrockKey?: string | undefined;
  /** Cancel the generation when the page is closed. */
  stopOnLeave?: boolean | undefined;
}

export interface SendOptions extends TurnOptions {
  text: string;
  /** `[A-Za-z0-9_-]{8,64}`. Default: a new conversation. */
  conversationId?: string | undefined;
}

export interface ResumeOptions {
  /** The `cursor` of the answer. Without it, the running generation is sent from its start. */
  cursor?: string | undefined;
  stopOnLeave?: boolean | undefined;
}

export declare class ConverseStream {
  constructor(options: ClientOptions);

  /** Sends a message. It is processed once, also if the request must be repeated. */
  send(options: SendOptions): Answer;
  /** Replaces the last answer by a new one. */
  regenerate(conversationId: string, options?: TurnOptions): Answer;
  /** Continues the last answer. */
  continue(conversationId: string, options?: TurnOptions): Answer;
  /** Follows the running generation, or the one of `cursor`. If there is none, the answer ends without an event. */
  resume(conversationId: string, options?: ResumeOptions): Answer;
  /**
   * Cancels this generation, or the running one. Without `generationId`, a 404 is retried for 10 s, because the server
   * may not have the message yet. Rejects with a ConverseError.
   */
  stop(conversationId: string, generationId?: string): Promise<void>;

  /** The models that requests may name, with their efforts and prices. Rejects with a ConverseError. */
  models(): Promise<ModelList>;

  /** The buffered routes. The result is `undefined` if the body is empty. They reject with a ConverseError. */
  get<T = any>(path: string): Promise<T>;
  post<T = any>(path: string, body?: unknown): Promise<T>;
  put<T = any>(path: string, body?: unknown): Promise<T>;
  patch<T = any>(path: string, body?: unknown): Promise<T>;
  delete<T = any>(path: string): Promise<T>;
}

/**
 * An answer while it is received. The client reads it also if you do not iterate. If you leave the loop, it calls
 * `leave`. The loop throws a ConverseError if the request is refused or the server stays unreachable.
 */
export declare class Answer implements AsyncIterable<StreamEvent> {
  private constructor();
  readonly conversationId: string;
  /** Known from `start` on. */
  readonly generationId: string | undefined;
  /** `<generation>:<position>`, for `resume`. Known from `start` on. */
  readonly cursor: string | undefined;
  readonly metrics: Metrics;
  /** The state at the end of the answer. Never rejects: a failure is in `error`. */
  readonly finished: Promise<AnswerState>;
  /** Cancels the generation. The answer ends with `complete` and `cancelled`. Rejects with a ConverseError. */
  stop(): Promise<void>;
  /** Stops to read. The generation continues on the server, and `resume` finds it. */
  leave(): void;
  [Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined>;
}

/** Times in milliseconds, measured by the client from the call of `send`. A resumed answer has none. */
export interface Metrics {
  firstTokenMs?: number;
  tokensPerSecond?: number;
  durationMs?: number;
}

/** The event of the server. If the answer is read from the stored messages, some fields are missing. */
export interface CompleteEvent
  extends Pick<ServerComplete, "type" | "finishReason" | "aiMessage">,
    Partial<Pick<ServerComplete, "userMessage" | "usage" | "metrics">> {}
/** An event of the server, or of the client; the latter has no `requestId`. */
export interface ErrorEvent extends Omit<ServerError, "requestId">, Partial<Pick<ServerError, "requestId">> {}
/** An event of the client: the state of the connection. `buffered`: it waits for the answer in one piece. */
export interface ConnectionEvent {
  type: "connection";
  state: "connecting" | "open" | "waiting" | "buffered";
  retryInMs?: number | undefined;
}

/** Unknown types and fields are passed on unchanged. */
export type StreamEvent =
  | Exclude<ServerEvent, ServerComplete | ServerError>
  | CompleteEvent
  | ErrorEvent
  | ConnectionEvent;

export type Citation = Omit<CitationEvent, "type">;
export type Tool = Omit<ToolEvent, "type">;

/** A part with the position of its start. Each event of a tool is a part; `tools` has the joined events. */
export type Part = MessagePart & { position: number };

export interface Failure {
  code: string;
  message: string;
  retryable: boolean;
  requestId?: string | undefined;
  /** The message with the partial answer, if it is stored. */
  messageId?: string | undefined;
}

/** The state of an answer. */
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
  /** The end of the answer: code points of text and reasoning, and 1 for each other event of the log. */
  position: number;
  /** The stored message. */
  message?: Message;
  finishReason?: FinishReason;
  usage?: Usage;
  error?: Failure;
}

/**
 * Returns the state after one more event. It is a pure function. `undefined` is the state before the first event.
 * `position` is the position in the event's `id`; without it, the length of the event is added.
 */
export declare function fold(state: AnswerState | undefined, event: StreamEvent, position?: number): AnswerState;

/** An error of the server, or `unreachable` (status 0) if there was no response. */
export declare class ConverseError extends Error implements Failure {
  constructor(failure: Failure & { status: number; field?: string; retryAfterMs?: number }, options?: ErrorOptions);
  readonly code: string;
  readonly status: number;
  readonly retryable: boolean;
  readonly requestId: string | undefined;
  readonly messageId: string | undefined;
  /** The field of the request that is not valid. */
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;
}

/** The features of this browser. Without `streaming`, answers come in one piece. `signBody` needs `signing`. */
export declare function features(): { streaming: boolean; signing: boolean };
