import { byId } from "./elements.js";

/** Wires the buttons that close. */
export function prepareDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target.closest("[data-close]")) dialog.close();
    });
  }
}

/**
 * The new title, or undefined.
 * @param {string} title
 * @returns {Promise<string | undefined>}
 */
export async function askTitle(title) {
  const field = byId("rename-title");
  field.value = title;
  const said = answered(byId("rename"));
  field.select();
  return (await said) && field.value.trim() !== title ? field.value.trim() || undefined : undefined;
}

/** Whether to delete it. @param {string} title */
export function confirmDeletion(title) {
  byId("delete").querySelector("[data-title]").textContent = `“${title}”`;
  return answered(byId("delete"));
}

/** Opens a dialog with one form; whether the form was sent. */
function answered(dialog) {
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
