import { byId } from "./elements.js";
import { onFrame } from "./frame.js";

const MAX_LENGTH = 2000; // characters; the rest can be read in the answer itself

/**
 * Announces a text to screen readers, once.
 * @param {string} text
 */
export function announce(text) {
  const announcement = text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH)}… The answer continues.`;
  onFrame(() => (byId("announcer").textContent = announcement));
}
