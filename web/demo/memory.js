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
    (element.nextElementSibling?.querySelector(".forget") ?? byId("fact")).focus();
    element.remove();
    this.#empty();
    return "The fact is deleted.";
  }

  /** Moves a learned preference to the profile: the assistant follows the profile, but takes a fact as information. */
  async #move(fact, element) {
    const field = byId("about");
    const { about = "" } = await this.#client.get("/profile");
    if (!about.split("\n").includes(fact.text)) {
      const longer = `${about}\n${fact.text}`.trim();
      if (longer.length > field.maxLength) throw new Error("The profile is full. Shorten “About you” first.");
      await this.#client.patch("/profile", { about: longer });
      const isEdited = field.value !== field.defaultValue;
      field.value = isEdited ? `${field.value}\n${fact.text}` : longer;
      field.defaultValue = longer;
    }
    await this.#forget(fact, element);
    return "The preference is in your profile.";
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
    const [move, forget] = element.querySelectorAll("button");
    element.firstElementChild.textContent = fact.text;
    if (fact.kind !== "preference" || fact.source === "user") move.remove();
    move.ariaLabel = `Move to profile: ${fact.text}`;
    move.addEventListener("click", () => this.#say(this.#move(fact, element)));
    forget.ariaLabel = `Forget: ${fact.text}`;
    forget.addEventListener("click", () => this.#say(this.#forget(fact, element)));
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
