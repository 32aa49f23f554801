import { cancel, cancelPath } from "./cancel.js";
import { Delivery } from "./delivery.js";
import { ConverseError } from "./error.js";
import { EMPTY, fold } from "./fold.js";

/**
 * @import { Answer as Declared, AnswerState, Metrics, StreamEvent } from "./converse-stream.js"
 * @import { Delivered, Send } from "./delivery.js"
 * @import { Http } from "./http.js"
 */

/** @implements {Declared} */
export class Answer {
  #http;
  #left = new AbortController(); // aborted by `leave`, and at the end of the answer
  #ended = new AbortController(); // ends the delivery
  #startedAt = performance.now();
  #isResumed;
  #isStopping = false;
  /** @type {unknown} */
  #failure;
  /** @type {StreamEvent[]} */
  #events = [];
  /** @type {(() => void)[]} */
  #waiting = [];
  #state = EMPTY;
  /** @type {string | undefined} */
  generationId;
  /** @type {string | undefined} */
  cursor;
  /** @type {Metrics} */
  metrics = {};

  /**
   * @param {Http} http
   * @param {{ conversationId: string, send?: Send, cursor?: string | undefined, stopOnLeave?: boolean | undefined }}
   *   request without `send`, the answer is resumed
   */
  constructor(http, { conversationId, send, cursor, stopOnLeave }) {
    this.#http = http;
    this.#isResumed = !send;
    this.conversationId = conversationId;
    this.cursor = cursor;
    this.finished = this.#read(new Delivery(http, { conversationId, send, cursor, signal: this.#ended.signal }));
    if (stopOnLeave) this.#stopOnLeave();
  }

  async stop() {
    this.#isStopping = true;
    try {
      await cancel(this.#http, this.conversationId, this.generationId);
    } catch (error) {
      const notReceived = !this.generationId && error instanceof ConverseError && error.status === 404;
      if (!notReceived) throw error;
      this.#ended.abort(); // do not send the message again
    }
  }

  leave() {
    this.#left.abort();
    if (this.#isResumed || this.generationId) this.#ended.abort(); // before `start`, the send must be completed
    this.#notify();
  }

  /** @returns {AsyncGenerator<StreamEvent, void, undefined>} */
  async *[Symbol.asyncIterator]() {
    try {
      for (let next = 0; ; next++) {
        while (next === this.#events.length && !this.#left.signal.aborted) {
          await new Promise((/** @type {(value?: undefined) => void} */ resolve) => this.#waiting.push(resolve));
        }
        const event = this.#events[next];
        if (!event) break;
        yield event;
      }
      if (this.#failure) throw this.#failure;
    } finally {
      this.leave();
    }
  }

  /**
   * @param {Delivery} delivery
   * @returns {Promise<AnswerState>}
   */
  async #read(delivery) {
    try {
      for await (const delivered of delivery) {
        this.#add(delivered);
        if (this.#left.signal.aborted && this.generationId) break;
      }
    } catch (error) {
      this.#failure = error;
      if (error instanceof ConverseError) this.#state = { ...this.#state, error };
    }
    this.leave();
    return this.#state;
  }

  /** @param {Delivered} delivered */
  #add(delivered) {
    const { event, cursor, position } = delivered;
    this.cursor = cursor ?? this.cursor;
    this.#state = fold(this.#state, event, position);
    if (event.type === "start") {
      this.generationId = event.generationId;
      if (this.#isStopping) this.stop().catch(() => {}); // `stop` was called before the generation was known
    }
    this.#measure(delivered);
    this.#events.push(event);
    this.#notify();
  }

  /** @param {Delivered} delivered */
  #measure({ event, position }) {
    if (this.#isResumed) return; // the start time is unknown
    const elapsed = Math.round(performance.now() - this.#startedAt);
    if (position && (event.type === "chunk" || event.type === "reasoning")) this.metrics.firstTokenMs ??= elapsed;
    if (event.type !== "complete" && event.type !== "error") return;
    this.metrics.durationMs = elapsed;
    const streamingMs = elapsed - (this.metrics.firstTokenMs ?? elapsed);
    const tokens = event.type === "complete" && event.usage?.outputTokens;
    if (tokens && streamingMs) this.metrics.tokensPerSecond = Math.round((10_000 * tokens) / streamingMs) / 10;
  }

  async #stopOnLeave() {
    const path = cancelPath(this.conversationId);
    const post = await this.#http.prepare(this.#http.apiUrl + path).catch(() => {});
    if (post) globalThis.addEventListener?.("pagehide", post, { signal: this.#left.signal });
  }

  #notify() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
