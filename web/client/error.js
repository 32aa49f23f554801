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
   * What an answer refuses with: the server's own words, or `http` for those of whatever stands in front of it.
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
    const told = await response.json().catch(() => undefined);
    return new ConverseError({ ...failure, ...told?.error, status, retryAfterMs: retryAfter(response) });
  }
}

/**
 * Milliseconds, or undefined when it does not say in seconds.
 * @param {Response} response
 */
export function retryAfter({ headers }) {
  const seconds = headers.get("retry-after");
  return seconds && /^\d+$/.test(seconds) ? Number(seconds) * 1000 : undefined;
}
