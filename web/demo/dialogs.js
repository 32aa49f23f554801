import { byId } from "./elements.js";

/** Connects the buttons that close dialogs. */
export function prepareDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target.closest("[data-close]")) dialog.close();
    });
  }
}

/**
 * Asks for a new title. Returns undefined if it is not changed.
 * @param {string} title
 * @returns {Promise<string | undefined>}
 */
export async function askTitle(title) {
  const field = byId("rename-title");
  field.value = title;
  const submitted = openForm(byId("rename"));
  field.select();
  return (await submitted) && field.value.trim() !== title ? field.value.trim() || undefined : undefined;
}

/** Asks whether to delete a conversation. @param {string} title */
export function confirmDeletion(title) {
  byId("delete").querySelector("[data-title]").textContent = `“${title}”`;
  return openForm(byId("delete"));
}

/**
 * Asks for a Bedrock API key. Returns "" to remove the present one, and undefined if nothing is changed.
 * @param {boolean} isSet  whether there is a key
 * @returns {Promise<string | undefined>}
 */
export async function askKey(isSet) {
  const field = byId("key-value");
  let removed = false;
  byId("key-remove").hidden = !isSet;
  byId("key-remove").onclick = () => {
    removed = true;
    byId("key").close();
  };
  const submitted = await openForm(byId("key"));
  const key = field.value.trim();
  field.value = "";
  if (removed) return "";
  return submitted ? key : undefined;
}

/** Opens a dialog with a form. Returns whether the form was submitted. */
function openForm(dialog) {
  return new Promise((resolve) => {
    const form = dialog.querySelector("form");
    let sent = false;
    form.onsubmit = (event) => {
      event.preventDefault();
      sent = true;
      dialog.close();
    };
    dialog.addEventListener("close", () => resolve(sent), { once: true });
    dialog.showModal();
  });
}
