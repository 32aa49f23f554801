import { ConverseError } from "./error.js";

/**
 * @import { ClientOptions } from "./converse-stream.js"
 * @typedef {{ method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} Call
 */

/** The deployment's two doors, without a slash at the end, and how one is let in. */
export class Http {
  #fetch;
  #token;
  #tokenHeader;
  #signBody;
  #headers;

  /** @param {ClientOptions} options */
  constructor({ url, apiUrl = url, token, tokenHeader = "authorization", signBody = false, headers, fetch, clientId }) {
    this.streamDoor = url.replace(/\/+$/, "");
    this.apiDoor = apiUrl.replace(/\/+$/, "");
    this.#fetch = fetch ?? globalThis.fetch.bind(globalThis);
    this.#token = token;
    this.#tokenHeader = tokenHeader;
    this.#signBody = signBody;
    this.#headers = { "x-client-id": clientId ?? crypto.randomUUID(), ...headers };
  }

  /**
   * A successful response. Throws ConverseError; a fetch that was aborted, or a token that did not come, counts as
   * unreachable, because the token may need the network too.
   * @param {string} url
   * @param {Call} [call]
   */
  async request(url, call = {}) {
    let response = await this.#once(url, call);
    if (response.status === 401 && this.#token) response = await this.#once(url, call);
    if (!response.ok) throw await ConverseError.of(response);
    return response;
  }

  /**
   * A JSON body, undefined when it is empty.
   * @param {string} url
   * @param {Call} [call]
   */
  async json(url, call) {
    const text = await (await this.request(url, call)).text();
    return text ? JSON.parse(text) : undefined;
  }

  /**
   * A POST without a body that is ready to be fired while the page goes away, when nothing can be awaited any more.
   * @param {string} url
   */
  async lastWord(url) {
    const init = await this.#init({ method: "POST" });
    return () => void this.#fetch(url, { ...init, keepalive: true }).catch(() => {});
  }

  /**
   * @param {string} url
   * @param {Call} call
   */
  async #once(url, call) {
    try {
      return await this.#fetch(url, await Promise.race([this.#init(call), aborted(call.signal)]));
    } catch (cause) {
      throw cause instanceof ConverseError ? cause : ConverseError.unreachable(cause);
    }
  }

  /**
   * @param {Call} call
   * @returns {Promise<RequestInit>}
   */
  async #init({ method = "GET", body, headers, signal }) {
    /** @type {Record<string, string>} */
    const all = { ...this.#headers, ...headers };
    const text = body === undefined ? undefined : JSON.stringify(body);
    if (text !== undefined) all["content-type"] = "application/json";
    if (this.#signBody && method !== "GET") all["x-amz-content-sha256"] = await sha256(text ?? "");
    const token = await this.#token?.();
    if (token) all[this.#tokenHeader] = `Bearer ${token}`;
    return { method, headers: all, body: text, signal };
  }
}

/**
 * Rejects when the signal aborts: a token that never comes must not outlast its request.
 * @param {AbortSignal} [signal]
 * @returns {Promise<never>}
 */
const aborted = (signal) => new Promise((_, reject) => signal?.addEventListener("abort", reject));

/** @param {string} text */
async function sha256(text) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
