import { announce } from "./announcer.js";

/**
 * Copies, and says so beside the button for two seconds.
 * @param {HTMLButtonElement} button
 * @param {string} text
 */
export async function copy(button, text) {
  const said = await navigator.clipboard.writeText(text).then(
    () => "Copied",
    () => "Not allowed here",
  );
  announce(said);
  button.dataset.said = said;
  setTimeout(() => delete button.dataset.said, 2000);
}
