import { Answer } from "./answer.js";
import { cancel } from "./cancel.js";
import { Http } from "./http.js";

/** @import { ClientOptions, ConverseStream as Declared, SendOptions, TurnOptions } from "./converse-stream.js" */

/** @implements {Declared} */
export class ConverseStream {
  #http;
  /** @type {Set<Answer>} */
  #reading = new Set();

  /** @param {ClientOptions} options */
  constructor(options) {
    this.#http = new Http(options);
  }

  /** @param {SendOptions} options */
  send({ text, conversationId = crypto.randomUUID(), ...turn }) {
    return this.#turn({ conversationId, message: { text } }, turn);
  }

  /** @type {Declared["regenerate"]} */
  regenerate(conversationId, turn) {
    return this.#turn({ action: "regenerate", conversationId }, turn);
  }

  /** @type {Declared["continue"]} */
  continue(conversationId, turn) {
    return this.#turn({ action: "continue", conversationId }, turn);
  }

  /** @type {Declared["resume"]} */
  resume(conversationId, { cursor, stopOnLeave } = {}) {
    // The server allows one follower for each client id and ends the older one. That one would reconnect and end the
    // newer one, so the older one must leave.
    for (const older of this.#reading) if (older.conversationId === conversationId) older.leave();
    return this.#read(new Answer(this.#http, { conversationId, cursor, stopOnLeave }));
  }

  /** @type {Declared["stop"]} */
  stop(conversationId, generationId) {
    return cancel(this.#http, conversationId, generationId);
  }

  models() {
    return this.get("/models");
  }

  /** @type {Declared["get"]} */
  get = (path) => this.#json("GET", path);
  /** @type {Declared["post"]} */
  post = (path, body) => this.#json("POST", path, body);
  /** @type {Declared["put"]} */
  put = (path, body) => this.#json("PUT", path, body);
  /** @type {Declared["patch"]} */
  patch = (path, body) => this.#json("PATCH", path, body);
  /** @type {Declared["delete"]} */
  delete = (path) => this.#json("DELETE", path);

  /**
   * @param {import("./delivery.js").Send["body"]} request
   * @param {TurnOptions} [turn]
   */
  #turn(request, { model, options, utcOffset = localOffset(), stopOnLeave, bedrockKey } = {}) {
    const headers = { "idempotency-key": crypto.randomUUID(), ...(bedrockKey && { "x-bedrock-api-key": bedrockKey }) };
    const send = { headers, body: { ...request, model, options, utcOffset } };
    return this.#read(new Answer(this.#http, { conversationId: request.conversationId, send, stopOnLeave }));
  }

  /** @param {Answer} answer */
  #read(answer) {
    this.#reading.add(answer);
    answer.finished.then(() => this.#reading.delete(answer));
    return answer;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   */
  #json(method, path, body) {
    return this.#http.json(`${this.#http.apiUrl}/${path.replace(/^\/+/, "")}`, { method, body });
  }
}

/** The offset of the local time from UTC, such as `+02:00`. The text of a date has it as `GMT+0200`. */
const localOffset = () => `${new Date()}`.replace(/.*?GMT(...)(..).*/, "$1:$2");
