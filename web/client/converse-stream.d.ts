/** The public interface. The JavaScript beside it is checked against it by `tsc`. */

export interface ClientOptions {
  /** The door that streams: the Function URL, the REST API's stage, or one host in front of both. */
  url: string;
  /** The door of the buffered routes: API Gateway. `url` when left out. */
  apiUrl?: string | undefined;
  /** A bearer token. Asked before each request, and once more after a 401. */
  token?: (() => string | Promise<string>) | undefined;
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

/** What the model is asked for; its own defaults where nothing is said. */
export interface ModelOptions {
  maxTokens?: number | undefined;
  temperature?: number | undefined;
  topP?: number | undefined;
  stop?: string[] | undefined;
  reasoning?: "low" | "medium" | "high" | undefined;
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

export interface StartEvent {
  type: "start";
  conversationId: string;
  messageId: string;
  generationId: string;
  model: string;
}
export interface ProgressEvent {
  type: "progress";
  stage: string;
  detail?: string;
}
export interface ChunkEvent {
  type: "chunk";
  content: string;
}
export interface ReasoningEvent {
  type: "reasoning";
  content: string;
}
export interface ToolEvent extends Tool {
  type: "tool";
}
export interface CitationEvent extends Citation {
  type: "citation";
}
/** The answer ends at `position` (see `AnswerState.position`): cut back what is shown. */
export interface RollbackEvent {
  type: "rollback";
  position: number;
}
export interface CompleteEvent {
  type: "complete";
  /** stop, length, content-filter, tool-limit, cancelled, deadline, budget, lost */
  finishReason: string;
  userMessage?: Message;
  aiMessage: Message;
  usage?: Usage;
  metrics?: Metrics;
}
export interface ErrorEvent extends Failure {
  type: "error";
  messageId?: string;
}
/** Ours, not the server's: how the line is. `buffered` waits for the answer in one piece. */
export interface ConnectionEvent {
  type: "connection";
  state: "connecting" | "open" | "waiting" | "buffered";
  retryInMs?: number | undefined;
}

/** Types that are not listed here, and fields, are passed on as they came. */
export type StreamEvent =
  | StartEvent
  | ProgressEvent
  | ChunkEvent
  | ReasoningEvent
  | ToolEvent
  | CitationEvent
  | RollbackEvent
  | CompleteEvent
  | ErrorEvent
  | ConnectionEvent;

export interface Citation {
  title?: string;
  url?: string;
  document?: string;
  fact?: string;
  quote?: string;
}
export interface Tool {
  id: string;
  name?: string;
  state?: string;
  input?: unknown;
  output?: unknown;
  error?: unknown;
}
export interface Usage {
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheWriteTokens: number;
  costUsd?: number;
  basis: "exact" | "estimated" | "unknown";
}
export interface Message {
  id: string;
  role: "user" | "assistant";
  parts: MessagePart[];
  status: "complete" | "partial" | "failed";
  createdAt: string;
  generationId?: string;
  model?: string;
  finishReason?: string;
  usage?: Usage;
  /** Where `status` is failed: as its `error` event said. */
  error?: Failure;
}
export type MessagePart =
  | { type: "text"; text: string }
  | { type: "reasoning"; text: string }
  | ({ type: "citation" } & Citation)
  | ({ type: "tool" } & Tool);
/** A part, and the position at which it begins. Each event of a tool is a part; `tools` has them joined. */
export type Part = MessagePart & { position: number };

export interface Failure {
  code: string;
  message: string;
  retryable: boolean;
  requestId?: string | undefined;
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
  finishReason?: string;
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
  /** The request's field that is wrong. */
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;
}

/** What this browser can do. Without `streaming` answers come in one piece; `signBody` needs `signing`. */
export declare function features(): { streaming: boolean; signing: boolean };
