import { ConverseError } from "./error.js";

/**
 * @import { ClientOptions } from "./converse-stream.js"
 * @typedef {{ method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} Call
 */

/** Sends requests to the two URLs of a deployment, which have no slash at the end, with headers and the token. */
export class Http {
  #fetch;
  #token;
  #tokenHeader;
  #signBody;
  #headers;

  /** @param {ClientOptions} options */
  constructor({ url, apiUrl = url, token, tokenHeader = "authorization", signBody = false, headers, fetch, clientId }) {
    this.url = url.replace(/\/+$/, "");
    this.apiUrl = apiUrl.replace(/\/+$/, "");
    this.#fetch = fetch ?? globalThis.fetch.bind(globalThis);
    this.#token = token;
    this.#tokenHeader = tokenHeader;
    this.#signBody = signBody;
    this.#headers = { "x-client-id": clientId ?? crypto.randomUUID(), ...headers };
  }

  /**
   * Returns a successful response. Throws ConverseError. An aborted request is `unreachable`, and so is an error of
   * `token`, because it may need the network.
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
   * Returns the JSON of the response, or undefined if the body is empty.
   * @param {string} url
   * @param {Call} [call]
   */
  async json(url, call) {
    const text = await (await this.request(url, call)).text();
    return text ? JSON.parse(text) : undefined;
  }

  /**
   * Prepares a POST without a body. The returned function sends it while the page is closed: it waits for nothing.
   * @param {string} url
   */
  async prepare(url) {
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
 * Rejects when the signal is aborted, so that a request does not wait for its token without end.
 * @param {AbortSignal} [signal]
 * @returns {Promise<never>}
 */
const aborted = (signal) => new Promise((_, reject) => signal?.addEventListener("abort", reject));

/** @param {string} text */
async function sha256(text) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
