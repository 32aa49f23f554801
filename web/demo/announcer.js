import { byId } from "./elements.js";
import { onFrame } from "./frame.js";

const LONGEST = 2000; // characters; a screen reader finds the rest in its place

/**
 * Says something to a screen reader, once.
 * @param {string} text
 */
export function announce(text) {
  const whole = text.length <= LONGEST ? text : `${text.slice(0, LONGEST)}… The answer goes on.`;
  onFrame(() => (byId("announcer").textContent = whole));
}
