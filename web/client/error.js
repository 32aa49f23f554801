/** @import { ConverseError as Declared, Failure } from "./converse-stream.js" */

/** @implements {Declared} */
export class ConverseError extends Error {
  name = "ConverseError";

  /**
   * @param {Failure & { status: number, field?: string, retryAfterMs?: number }} failure
   * @param {ErrorOptions} [options]
   */
  constructor({ code, message, status, retryable, requestId, messageId, field, retryAfterMs }, options) {
    super(message, options);
    this.code = code;
    this.status = status;
    this.retryable = retryable;
    this.requestId = requestId;
    this.messageId = messageId;
    this.field = field;
    this.retryAfterMs = retryAfterMs;
  }

  /** @param {unknown} [cause] */
  static unreachable(cause) {
    const message = "The server cannot be reached.";
    return new ConverseError({ code: "unreachable", message, status: 0, retryable: true }, { cause });
  }

  /**
   * The error of a response. Without an error of our server in the body, the code is `http`.
   * @param {Response} response
   */
  static async of(response) {
    const { status, headers } = response;
    const failure = {
      code: "http",
      message: `The server answered ${status}.`,
      retryable: status === 429 || status >= 500,
      requestId: headers.get("x-request-id") ?? undefined,
    };
    const body = await response.json().catch(() => undefined);
    return new ConverseError({ ...failure, ...body?.error, status, retryAfterMs: retryAfter(response) });
  }
}

/**
 * The time of `Retry-After` in milliseconds, or undefined if the header is missing or not in seconds.
 * @param {Response} response
 */
export function retryAfter({ headers }) {
  const seconds = headers.get("retry-after");
  return seconds && /^\d+$/.test(seconds) ? Number(seconds) * 1000 : undefined;
}
