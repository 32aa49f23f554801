import { byId, template } from "./elements.js";

/** The dialog with the facts in the memory and the user's profile. */
export class Memory {
  #client;

  constructor(client) {
    this.#client = client;
    byId("open-memory").addEventListener("click", () => this.#say(this.#open()));
    byId("new-fact").addEventListener("submit", (event) => this.#submit(event, this.#add()));
    byId("profile").addEventListener("submit", (event) => this.#submit(event, this.#save()));
  }

  async #open() {
    byId("profile-fields").disabled = true; // saving the form before it is filled would delete the profile
    byId("memory").showModal();
    await Promise.all([this.#showFacts(), this.#showProfile()]);
    return "";
  }

  async #showFacts() {
    const { facts } = await this.#client.get("/memory");
    byId("facts").replaceChildren(...facts.map((fact) => this.#entry(fact)));
    this.#empty();
  }

  async #showProfile() {
    this.#fill(await this.#client.get("/profile"));
    byId("profile-fields").disabled = false;
  }

  #fill(profile) {
    for (const field of this.#texts()) field.value = field.defaultValue = profile[field.name] ?? "";
    const learning = byId("learning");
    learning.checked = learning.defaultChecked = profile.learning;
  }

  /** @returns {HTMLInputElement[]} */
  #texts() {
    return [...byId("profile").querySelectorAll("[name]")];
  }

  async #add() {
    const fact = await this.#client.post("/memory", { text: byId("fact").value.trim() });
    byId("facts").append(this.#entry(fact));
    byId("new-fact").reset();
    this.#empty();
    return "The fact is saved.";
  }

  async #forget(fact, element) {
    await this.#client.delete(`/memory/${fact.id}`);
    (element.nextElementSibling?.querySelector("button") ?? byId("fact")).focus();
    element.remove();
    this.#empty();
    return "The fact is deleted.";
  }

  async #save() {
    const changed = this.#texts().filter(({ value, defaultValue }) => value.trim() !== defaultValue);
    const changes = Object.fromEntries(changed.map(({ name, value }) => [name, value.trim() || null]));
    const { checked, defaultChecked } = byId("learning");
    if (checked !== defaultChecked) changes.learning = checked;
    this.#fill(await this.#client.patch("/profile", changes)); // only changes: learned fields stay
    return "The profile is saved.";
  }

  #entry(fact) {
    const element = template("fact-entry");
    const button = element.querySelector("button");
    element.firstElementChild.textContent = fact.text;
    button.ariaLabel = `Forget: ${fact.text}`;
    button.addEventListener("click", () => this.#say(this.#forget(fact, element)));
    return element;
  }

  #submit(event, done) {
    event.preventDefault();
    this.#say(done);
  }

  /** Shows the result, or the message of an error. @param {Promise<string>} done */
  async #say(done) {
    const note = byId("memory-note");
    note.textContent = "";
    note.textContent = await done.catch((error) => error.message);
  }

  #empty() {
    byId("no-facts").hidden = byId("facts").children.length > 0;
  }
}
