import { askKey } from "./dialogs.js";
import { byId } from "./elements.js";

/** The user's own Bedrock API key. Only the memory of this page has it. */
export class BedrockKey {
  /** @type {string | undefined} */
  value;

  constructor() {
    byId("open-key").addEventListener("click", async () => this.#use((await askKey(Boolean(this.value))) ?? this.value));
  }

  #use(key) {
    this.value = key || undefined;
    byId("open-key").querySelector("span").textContent = this.value ? "Your Bedrock key is used" : "Your Bedrock key";
  }
}
