import { ConverseError, retryAfter } from "./error.js";
import { features } from "./features.js";
import { fold } from "./fold.js";
import { events } from "./sse.js";
import { abortWhenSilent, pause } from "./waiting.js";

/**
 * @import { CompleteEvent, ConnectionEvent, ErrorEvent, Message, StreamEvent } from "./converse-stream.js"
 * @import { Http } from "./http.js"
 * @typedef {{ conversationId: string, action?: string } & Record<string, unknown>} Body
 * @typedef {{ headers: Record<string, string>, body: Body }} Send
 * @typedef {{ conversationId: string, send?: Send, cursor?: string | undefined, signal: AbortSignal }} Request
 * @typedef {{ event: StreamEvent, cursor?: string | undefined, position?: number | undefined }} Delivered
 * @typedef {ReturnType<typeof abortWhenSilent>} Silence
 */

const MAX_ATTEMPTS = 40; // attempts in a row without a new event: about two and a half minutes
const MAX_RESUME_ATTEMPTS = 5; // the same for a resume without a cursor, when there may be no answer: a few seconds
const SILENCE = 25_000; // ms; the server sends a heartbeat every 10 s
const BUFFERED_SILENCE = 100_000; // ms; there is no heartbeat
const MAX_RETRY_AFTER = 30_000; // ms; with a longer time, the user decides
const POLL = 2_000; // ms
const FIRST_PAUSE = 250; // ms, doubled after each attempt
const MAX_PAUSE = 8_000; // ms

/**
 * The next events are the answer from its start. (The events of `continue` usually start at the end of the old text.)
 * @type {Delivered}
 */
const RESTART = { event: { type: "rollback", position: 0 } };

/**
 * Yields the events of one answer until its terminal event, with retries.
 *
 * The client repeats the POST with the same idempotency key until the server has the message: streamed, then in one
 * piece, in turns. After the first event it sends only GETs with the cursor. So no text is generated or shown twice.
 */
export class Delivery {
  #http;
  #conversationId;
  #post;
  #cursor;
  #signal;
  #attempt = 0;
  #hasStarted = false;
  #isContinued;
  #isBuffered;
  /** @type {string | undefined} */
  #generation;

  /**
   * @param {Http} http
   * @param {Request} request without `send`, the answer is resumed; `signal` ends the delivery without an error
   */
  constructor(http, { conversationId, send, cursor, signal }) {
    this.#http = http;
    this.#conversationId = conversationId;
    this.#post = send && { method: "POST", ...send };
    this.#isContinued = send?.body.action === "continue";
    this.#cursor = cursor;
    this.#signal = signal;
    this.#isBuffered = Boolean(send) && !features().streaming;
  }

  /**
   * Yields nothing if there is nothing to resume. Throws ConverseError.
   * @returns {AsyncGenerator<Delivered, void, undefined>}
   */
  async *[Symbol.asyncIterator]() {
    for (; this.#attempt < (this.#post || this.#cursor ? MAX_ATTEMPTS : MAX_RESUME_ATTEMPTS); this.#attempt++) {
      const silence = abortWhenSilent(this.#signal, this.#isBuffered ? BUFFERED_SILENCE : SILENCE);
      /** @type {number | undefined} */
      let retryInMs;
      try {
        retryInMs = yield* this.#isBuffered ? this.#buffered(silence) : this.#streamed(silence);
        if (retryInMs === undefined) return;
      } catch (error) {
        if (this.#signal.aborted) return;
        const failure = error instanceof ConverseError ? error : ConverseError.unreachable(error);
        retryInMs = requestedPause(failure);
        if (retryInMs === undefined) {
          if (isRefusal(failure) && !this.#mayFallBack(failure)) throw failure;
          if (this.#isBuffered && failure.status && failure.code !== "http") return yield { event: errorOf(failure) };
          this.#isBuffered = this.#mayFallBack(failure);
          if (this.#isBuffered) continue;
        }
      } finally {
        silence.close();
      }
      yield* this.#wait(retryInMs);
      if (this.#signal.aborted) return;
    }
    throw ConverseError.unreachable();
  }

  /**
   * Reads one stream until the end of the answer. Throws if the stream ends before that.
   * @param {Silence} silence
   * @returns {AsyncGenerator<Delivered, undefined, undefined>}
   */
  async *#streamed({ signal, onChunk }) {
    if (this.#post || this.#attempt) yield connection("connecting"); // the first resume may find no answer
    const response = await this.#open(signal);
    if (response.status === 204) {
      if (this.#cursor) yield* this.#stored(this.#cursor, signal);
      return undefined;
    }
    if (!response.body || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
      throw ConverseError.unreachable(); // the response is not from our server
    }
    yield connection("open");
    for await (const { id, event } of events(response.body, onChunk)) {
      this.#hasStarted = true;
      if (event.type === "start") {
        this.#cursor ??= `${event.generationId}:0`;
        if (this.#generation === event.generationId) continue; // each attach sends `start` again
        this.#generation = event.generationId;
      }
      if (id) {
        this.#cursor = id;
        this.#attempt = 0;
      }
      const position = id ? Number(id.split(":")[1]) : undefined;
      if (position && this.#isContinued && fold(undefined, event).position === position) yield RESTART;
      yield { event, cursor: this.#cursor, position };
      if (event.type === "complete" || event.type === "error") return undefined;
    }
    throw ConverseError.unreachable(); // the stream has ended without a terminal event
  }

  /** @param {AbortSignal} signal */
  #open(signal) {
    const url = `${this.#http.url}/chat`;
    if (this.#post && !this.#cursor) return this.#http.request(url, { ...this.#post, signal });
    const headers = { ...(this.#cursor && { "last-event-id": this.#cursor }) };
    return this.#http.request(`${url}/${this.#conversationId}/stream`, { headers, signal });
  }

  /**
   * Requests the answer in one piece. Returns the pause before the next request if the answer is not ready.
   * @param {Silence} silence
   * @returns {AsyncGenerator<Delivered, number | undefined, undefined>}
   */
  async *#buffered({ signal }) {
    yield connection("buffered");
    // With a web host both URLs are the same, and this path belongs to the function that streams.
    const response = await this.#http.request(`${this.#http.apiUrl}/chat?stream=false`, { ...this.#post, signal });
    const { conversationId, messageId, generationId, model, ...completion } = await response.json();
    if (response.status === 202) {
      this.#attempt = 0; // the generation is running
      return retryAfter(response) ?? POLL;
    }
    yield { event: { type: "start", conversationId, messageId, generationId, model } };
    if (this.#isContinued) yield RESTART;
    yield* eventsOf(completion.aiMessage);
    yield { event: { type: "complete", ...completion } };
    return undefined;
  }

  /**
   * The log of the generation has expired. Yields the stored answer instead, from its start.
   * @param {string} cursor
   * @param {AbortSignal} signal
   * @returns {AsyncGenerator<Delivered, void, undefined>}
   */
  async *#stored(cursor, signal) {
    const generation = cursor.split(":")[0];
    const url = `${this.#http.apiUrl}/conversations/${this.#conversationId}/messages`;
    /** @type {Message[]} */
    let messages = [];
    let index;
    let page;
    do {
      page = await this.#http.json(page ? `${url}?cursor=${page.cursor}` : url, { signal });
      messages = [...page.messages, ...messages];
      index = messages.findIndex(({ role, generationId }) => role === "assistant" && generationId === generation);
    } while (index < 1 && page.cursor); // pages are newest first; the user message before the answer is needed too
    const aiMessage = messages[index];
    if (!aiMessage) {
      throw new ConverseError({ code: "not_found", message: "The answer is gone.", status: 404, retryable: false });
    }
    yield RESTART;
    yield* eventsOf(aiMessage);
    const { error, finishReason = "stop", usage, id: messageId, status } = aiMessage;
    if (status === "failed") {
      const unknown = { code: "failed", message: "The answer failed.", retryable: true }; // old messages have no error
      yield { event: { type: "error", ...unknown, ...error, messageId } };
    } else yield { event: { type: "complete", finishReason, userMessage: messages[index - 1], aiMessage, usage } };
  }

  /**
   * Whether the message may be sent in one piece after this failure of a stream. Not after the first event.
   * @param {ConverseError} failure
   */
  #mayFallBack(failure) {
    const cannotStart = !isRefusal(failure) || failure.status === 403 || failure.status === 404;
    return Boolean(this.#post) && !this.#hasStarted && !this.#isBuffered && cannotStart;
  }

  /**
   * Waits for the server's `Retry-After`, or else with exponential back-off and full jitter. The back-off ends early
   * when the network is back.
   * @param {number | undefined} requested milliseconds
   * @returns {AsyncGenerator<Delivered, void, undefined>}
   */
  async *#wait(requested) {
    const retryInMs = Math.round(requested ?? Math.random() * Math.min(MAX_PAUSE, FIRST_PAUSE * 2 ** this.#attempt));
    yield connection("waiting", retryInMs);
    const woken = await pause(retryInMs, { signal: this.#signal, wakes: requested === undefined });
    if (woken) this.#attempt = 0;
  }
}

/**
 * Whether the request itself was refused. A 429 of Lambda or API Gateway (code `http`) is not a refusal.
 * @param {ConverseError} failure
 */
function isRefusal({ status, code }) {
  return status >= 400 && status < 500 && (status !== 429 || code !== "http");
}

/**
 * The milliseconds of `Retry-After` from a busy server, or undefined if there is none or it is too long.
 * @param {ConverseError} failure
 */
function requestedPause({ status, retryAfterMs: after }) {
  return (status === 429 || status === 503) && after !== undefined && after <= MAX_RETRY_AFTER ? after : undefined;
}

/**
 * @param {ConnectionEvent["state"]} state
 * @param {number} [retryInMs]
 * @returns {Delivered}
 */
function connection(state, retryInMs) {
  return { event: { type: "connection", state, retryInMs } };
}

/**
 * The events of a stored message.
 * @param {Message} message
 * @returns {Generator<Delivered, void, undefined>}
 */
function* eventsOf({ parts }) {
  for (const part of parts) {
    if (part.type === "text") yield { event: { type: "chunk", content: part.text } };
    else if (part.type === "reasoning") yield { event: { type: "reasoning", content: part.text } };
    else yield { event: part };
  }
}

/**
 * @param {ConverseError} failure
 * @returns {ErrorEvent}
 */
function errorOf({ code, message, retryable, requestId, messageId }) {
  return { type: "error", code, message, retryable, requestId, messageId };
}
