import { ConverseError, retryAfter } from "./error.js";
import { features } from "./features.js";
import { fold } from "./fold.js";
import { events } from "./sse.js";
import { pause, watch } from "./waiting.js";

/**
 * @import { CompleteEvent, ConnectionEvent, ErrorEvent, Message, StreamEvent } from "./converse-stream.js"
 * @import { Http } from "./http.js"
 * @typedef {{ key: string, body: { conversationId: string, action?: string } & Record<string, unknown> }} Send
 * @typedef {{ conversationId: string, send?: Send | undefined, cursor?: string | undefined, signal: AbortSignal }} What
 * @typedef {{ event: StreamEvent, cursor?: string | undefined, position?: number | undefined }} Delivered
 * @typedef {ReturnType<typeof watch>} Line
 */

const PATIENCE = 40; // attempts in a row that bring nothing new: about two and a half minutes
const CURIOSITY = 5; // the same for what may be no answer at all: a few seconds
const SILENCE = 25_000; // ms; the server sends a heartbeat every 10 s
const SILENCE_IN_ONE_PIECE = 100_000; // ms; there is no heartbeat
const LONGEST_RETRY_AFTER = 30_000; // ms; a longer one is for the user to decide
const POLL = 2_000; // ms
const FIRST_PAUSE = 250; // ms, doubled from attempt to attempt
const LONGEST_PAUSE = 8_000; // ms

/**
 * What follows is the answer from its begin. An answer that is gone on with is usually sent from where it had ended.
 * @type {Delivered}
 */
const BEGIN = { event: { type: "rollback", position: 0 } };

/**
 * The events of one answer to its terminal one, whatever the line does.
 *
 * A send is POSTed with its key until the server is known to have it: streamed, then in one piece, and so on in turns.
 * From its first event on there are only GETs behind the cursor, so nothing is said, shown or paid twice.
 */
export class Delivery {
  #http;
  #conversationId;
  #post;
  #cursor;
  #signal;
  #attempt = 0;
  #hasBegun = false;
  #isContinued;
  #inOnePiece;
  /** @type {string | undefined} */
  #generation;

  /**
   * @param {Http} http
   * @param {What} what without `send`, what is being made or was; `signal` ends it silently
   */
  constructor(http, { conversationId, send, cursor, signal }) {
    this.#http = http;
    this.#conversationId = conversationId;
    this.#post = send && { method: "POST", body: send.body, headers: { "idempotency-key": send.key } };
    this.#isContinued = send?.body.action === "continue";
    this.#cursor = cursor;
    this.#signal = signal;
    this.#inOnePiece = Boolean(send) && !features().streaming;
  }

  /**
   * Without an event when there is nothing to resume. Throws ConverseError.
   * @returns {AsyncGenerator<Delivered, void, undefined>}
   */
  async *[Symbol.asyncIterator]() {
    for (; this.#attempt < (this.#post || this.#cursor ? PATIENCE : CURIOSITY); this.#attempt++) {
      const line = watch(this.#signal, this.#inOnePiece ? SILENCE_IN_ONE_PIECE : SILENCE);
      /** @type {number | undefined} */
      let retryInMs;
      try {
        retryInMs = yield* this.#inOnePiece ? this.#whole(line) : this.#streamed(line);
        if (retryInMs === undefined) return;
      } catch (error) {
        if (this.#signal.aborted) return;
        const failure = error instanceof ConverseError ? error : ConverseError.unreachable(error);
        retryInMs = asked(failure);
        if (retryInMs === undefined) {
          if (isRefusal(failure) && !this.#mayFallBack(failure)) throw failure;
          if (this.#inOnePiece && failure.status && failure.code !== "http") return yield { event: failed(failure) };
          this.#inOnePiece = this.#mayFallBack(failure);
          if (this.#inOnePiece) continue;
        }
      } finally {
        line.close();
      }
      yield* this.#wait(retryInMs);
      if (this.#signal.aborted) return;
    }
    throw ConverseError.unreachable();
  }

  /**
   * Reads one stream to the answer's end. Throws where it breaks off.
   * @param {Line} line
   * @returns {AsyncGenerator<Delivered, undefined, undefined>}
   */
  async *#streamed({ signal, hear }) {
    if (this.#post || this.#attempt) yield connection("connecting"); // a first resume may find nothing to show
    const response = await this.#open(signal);
    if (response.status === 204) {
      if (this.#cursor) yield* this.#stored(this.#cursor, signal);
      return undefined;
    }
    if (!response.body || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
      throw ConverseError.unreachable(); // what answers is not our server
    }
    yield connection("open");
    for await (const { id, event } of events(response.body, hear)) {
      this.#hasBegun = true;
      if (event.type === "start") {
        this.#cursor ??= `${event.generationId}:0`;
        if (this.#generation === event.generationId) continue; // every attach begins with it
        this.#generation = event.generationId;
      }
      if (id) {
        this.#cursor = id;
        this.#attempt = 0;
      }
      const position = id ? Number(id.split(":")[1]) : undefined;
      if (position && this.#isContinued && fold(undefined, event).position === position) yield BEGIN;
      yield { event, cursor: this.#cursor, position };
      if (event.type === "complete" || event.type === "error") return undefined;
    }
    throw ConverseError.unreachable(); // an end without a terminal event is none
  }

  /** @param {AbortSignal} signal */
  #open(signal) {
    const url = `${this.#http.streamDoor}/chat`;
    if (this.#post && !this.#cursor) return this.#http.request(url, { ...this.#post, signal });
    const headers = { ...(this.#cursor && { "last-event-id": this.#cursor }) };
    return this.#http.request(`${url}/${this.#conversationId}/stream`, { headers, signal });
  }

  /**
   * The answer in one piece, or when to ask for it again.
   * @param {Line} line
   * @returns {AsyncGenerator<Delivered, number | undefined, undefined>}
   */
  async *#whole({ signal }) {
    yield connection("buffered");
    // Where both doors are one host, the path leads to the function that streams.
    const response = await this.#http.request(`${this.#http.apiDoor}/chat?stream=false`, { ...this.#post, signal });
    const { conversationId, messageId, generationId, model, ...completion } = await response.json();
    if (response.status === 202) {
      this.#attempt = 0; // it is being made
      return retryAfter(response) ?? POLL;
    }
    yield { event: { type: "start", conversationId, messageId, generationId, model } };
    if (this.#isContinued) yield BEGIN;
    yield* pieces(completion.aiMessage);
    yield { event: { type: "complete", ...completion } };
    return undefined;
  }

  /**
   * The log behind the cursor is gone: the answer as it is kept, in the place of what was seen of it.
   * @param {string} cursor
   * @param {AbortSignal} signal
   * @returns {AsyncGenerator<Delivered, void, undefined>}
   */
  async *#stored(cursor, signal) {
    const generation = cursor.split(":")[0];
    const url = `${this.#http.apiDoor}/conversations/${this.#conversationId}/messages`;
    /** @type {Message[]} */
    let messages = [];
    let place;
    let page;
    do {
      page = await this.#http.json(page ? `${url}?cursor=${page.cursor}` : url, { signal });
      messages = [...page.messages, ...messages];
      place = messages.findIndex(({ role, generationId }) => role === "assistant" && generationId === generation);
    } while (place < 1 && page.cursor); // newest first, and its question is shown too
    const aiMessage = messages[place];
    if (!aiMessage) {
      throw new ConverseError({ code: "not_found", message: "The answer is gone.", status: 404, retryable: false });
    }
    yield BEGIN;
    yield* pieces(aiMessage);
    const { error, finishReason = "stop", usage, id: messageId, status } = aiMessage;
    if (status === "failed") {
      const old = { code: "failed", message: "The answer failed.", retryable: true }; // from before reasons were stored
      yield { event: { type: "error", ...old, ...error, messageId } };
    } else yield { event: { type: "complete", finishReason, userMessage: messages[place - 1], aiMessage, usage } };
  }

  /**
   * Whether a streamed send that failed this way may be asked for in one piece: never after its first event.
   * @param {ConverseError} failure
   */
  #mayFallBack(failure) {
    const cannotStart = !isRefusal(failure) || failure.status === 403 || failure.status === 404;
    return Boolean(this.#post) && !this.#hasBegun && !this.#inOnePiece && cannotStart;
  }

  /**
   * As long as was asked for, or else back-off with full jitter, which a network that is back cuts short.
   * @param {number | undefined} asked
   * @returns {AsyncGenerator<Delivered, void, undefined>}
   */
  async *#wait(asked) {
    const retryInMs = Math.round(asked ?? Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#attempt));
    yield connection("waiting", retryInMs);
    const woken = await pause(retryInMs, { signal: this.#signal, wakes: asked === undefined });
    if (woken) this.#attempt = 0;
  }
}

/**
 * Whether it is the request that is wrong. Not where Lambda or a gateway has no place left, and says 429 for itself.
 * @param {ConverseError} failure
 */
function isRefusal({ status, code }) {
  return status >= 400 && status < 500 && (status !== 429 || code !== "http");
}

/**
 * Milliseconds that a busy server asks us to wait.
 * @param {ConverseError} failure
 */
function asked({ status, retryAfterMs: after }) {
  return (status === 429 || status === 503) && after !== undefined && after <= LONGEST_RETRY_AFTER ? after : undefined;
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
 * @param {Message} message
 * @returns {Generator<Delivered, void, undefined>}
 */
function* pieces({ parts }) {
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
function failed({ code, message, retryable, requestId, messageId }) {
  return { type: "error", code, message, retryable, requestId, messageId };
}
