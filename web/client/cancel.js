import { ConverseError } from "./error.js";
import { pause } from "./waiting.js";

/** @import { Http } from "./http.js" */

const PATIENCE = 10_000; // ms
const PAUSE = 500; // ms

/**
 * Stops the model. API Gateway is asked first: with reserved concurrency running streams cannot throttle it. Throws ConverseError.
 * @param {Http} http
 * @param {string} conversationId
 * @param {string} [generationId] when left out, a 404 may mean that the message is still on its way: it is asked again
 */
export async function cancel(http, conversationId, generationId) {
  const path = cancelPath(conversationId);
  const call = { method: "POST", body: { generationId } };
  const until = Date.now() + PATIENCE;
  for (;;) {
    try {
      await http.request(http.apiDoor + path, call).catch((error) => {
        if (isOurs(error)) throw error;
        return http.request(http.streamDoor + path, call);
      });
      return;
    } catch (error) {
      if (!(error instanceof ConverseError)) throw error;
      if (error.code === "not_active") return; // it had ended
      if (generationId || error.status !== 404 || Date.now() > until) throw error;
    }
    await pause(PAUSE);
  }
}

/** @param {string} conversationId */
export const cancelPath = (conversationId) => `/chat/${conversationId}/cancel`;

/** @param {unknown} error whether the application itself refused, and not something in front of it */
function isOurs(error) {
  return error instanceof ConverseError && error.code !== "http" && error.status >= 400 && error.status < 500;
}
