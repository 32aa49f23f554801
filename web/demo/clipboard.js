import { announce } from "./announcer.js";

/**
 * Copies a text, and shows the result beside the button for two seconds.
 * @param {HTMLButtonElement} button
 * @param {string} text
 */
export async function copy(button, text) {
  const result = await navigator.clipboard.writeText(text).then(
    () => "Copied",
    () => "Not allowed here",
  );
  announce(result);
  button.dataset.result = result;
  setTimeout(() => delete button.dataset.result, 2000);
}
