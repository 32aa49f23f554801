import { cancel, cancelPath } from "./cancel.js";
import { Delivery } from "./delivery.js";
import { ConverseError } from "./error.js";
import { NOTHING, fold } from "./fold.js";

/**
 * @import { Answer as Declared, AnswerState, Metrics, StreamEvent } from "./converse-stream.js"
 * @import { Delivered, Send } from "./delivery.js"
 * @import { Http } from "./http.js"
 */

/** @implements {Declared} */
export class Answer {
  #http;
  #leaving = new AbortController();
  #over = new AbortController();
  #begun = performance.now();
  #isResumed;
  #isStopping = false;
  /** @type {unknown} */
  #failure;
  /** @type {StreamEvent[]} */
  #events = [];
  /** @type {(() => void)[]} */
  #waiting = [];
  #state = NOTHING;
  /** @type {string | undefined} */
  generationId;
  /** @type {string | undefined} */
  cursor;
  /** @type {Metrics} */
  metrics = {};

  /**
   * @param {Http} http
   * @param {{ conversationId: string, send?: Send, cursor?: string | undefined, stopOnLeave?: boolean | undefined }}
   *   what
   */
  constructor(http, { conversationId, send, cursor, stopOnLeave }) {
    this.#http = http;
    this.#isResumed = !send;
    this.conversationId = conversationId;
    this.cursor = cursor;
    this.finished = this.#read(new Delivery(http, { conversationId, send, cursor, signal: this.#over.signal }));
    if (stopOnLeave) this.#stopOnLeave();
  }

  async stop() {
    this.#isStopping = true;
    try {
      await cancel(this.#http, this.conversationId, this.generationId);
    } catch (error) {
      const neverArrived = !this.generationId && error instanceof ConverseError && error.status === 404;
      if (!neverArrived) throw error;
      this.#over.abort(); // and it is not sent again
    }
  }

  leave() {
    this.#leaving.abort();
    if (this.#isResumed || this.generationId) this.#over.abort(); // until `start` a send is still on its way
    this.#tell();
  }

  /** @returns {AsyncGenerator<StreamEvent, void, undefined>} */
  async *[Symbol.asyncIterator]() {
    try {
      for (let next = 0; ; next++) {
        while (next === this.#events.length && !this.#leaving.signal.aborted) {
          await new Promise((/** @type {(value?: undefined) => void} */ news) => this.#waiting.push(news));
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
        this.#take(delivered);
        if (this.#leaving.signal.aborted && this.generationId) break;
      }
    } catch (error) {
      this.#failure = error;
      if (error instanceof ConverseError) this.#state = { ...this.#state, error };
    }
    this.leave();
    return this.#state;
  }

  /** @param {Delivered} delivered */
  #take(delivered) {
    const { event, cursor, position } = delivered;
    this.cursor = cursor ?? this.cursor;
    this.#state = fold(this.#state, event, position);
    if (event.type === "start") {
      this.generationId = event.generationId;
      if (this.#isStopping) this.stop().catch(() => {}); // what was asked for before there was anything to stop
    }
    this.#measure(delivered);
    this.#events.push(event);
    this.#tell();
  }

  /** @param {Delivered} delivered */
  #measure({ event, position }) {
    if (this.#isResumed) return; // its begin was not seen
    const elapsed = Math.round(performance.now() - this.#begun);
    if (position && (event.type === "chunk" || event.type === "reasoning")) this.metrics.firstTokenMs ??= elapsed;
    if (event.type !== "complete" && event.type !== "error") return;
    this.metrics.durationMs = elapsed;
    const speakingMs = elapsed - (this.metrics.firstTokenMs ?? elapsed);
    const tokens = event.type === "complete" && event.usage?.outputTokens;
    if (tokens && speakingMs) this.metrics.tokensPerSecond = Math.round((10_000 * tokens) / speakingMs) / 10;
  }

  async #stopOnLeave() {
    const path = cancelPath(this.conversationId);
    const lastWord = await this.#http.lastWord(this.#http.apiDoor + path).catch(() => {});
    if (lastWord) globalThis.addEventListener?.("pagehide", lastWord, { signal: this.#leaving.signal });
  }

  #tell() {
    for (const news of this.#waiting.splice(0)) news();
  }
}
