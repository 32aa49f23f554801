/** @type {typeof import("./converse-stream.js").features} */
export const features = () => ({
  streaming: typeof ReadableStream === "function" && "body" in Response.prototype,
  signing: Boolean(globalThis.crypto?.subtle), // only in secure contexts
});
