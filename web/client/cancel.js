import { ConverseError } from "./error.js";
import { pause } from "./waiting.js";

/** @import { Http } from "./http.js" */

const RETRY_TIME = 10_000; // ms
const PAUSE = 500; // ms

/**
 * Cancels a generation. Throws ConverseError.
 *
 * The request goes to API Gateway first: with reserved concurrency, running streams cannot throttle it.
 * @param {Http} http
 * @param {string} conversationId
 * @param {string} [generationId] without it, a 404 is retried, because the server may not have the message yet
 */
export async function cancel(http, conversationId, generationId) {
  const path = cancelPath(conversationId);
  const call = { method: "POST", body: { generationId } };
  const deadline = Date.now() + RETRY_TIME;
  for (;;) {
    try {
      await http.request(http.apiUrl + path, call).catch((error) => {
        if (isRefusal(error)) throw error;
        return http.request(http.url + path, call);
      });
      return;
    } catch (error) {
      if (!(error instanceof ConverseError)) throw error;
      if (error.code === "not_active") return; // the generation has already ended
      if (generationId || error.status !== 404 || Date.now() > deadline) throw error;
    }
    await pause(PAUSE);
  }
}

/** @param {string} conversationId */
export const cancelPath = (conversationId) => `/chat/${conversationId}/cancel`;

/**
 * Whether the application has refused the request, and not a service in front of it.
 * @param {unknown} error
 */
function isRefusal(error) {
  return error instanceof ConverseError && error.code !== "http" && error.status >= 400 && error.status < 500;
}
