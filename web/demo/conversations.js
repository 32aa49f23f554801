import { askTitle, confirmDeletion } from "./dialogs.js";
import { byId, template } from "./elements.js";
import { onFrame } from "./frame.js";
import { setText } from "./morph.js";

export const UNTITLED = "Untitled chat";

/** The list of conversations, newest change first. */
export class Conversations {
  #client;
  #on;
  /** @type {Map<string, { id: string, title?: string, element: HTMLElement, asked?: Promise<any>, leaving?: boolean }>} */
  #known = new Map();
  /** The cursor of the next page; null until the first page is read. */
  #cursor = null;
  #open;

  /** @param {{ renamed(id: string, title: string): void, deleted(id: string): void, failed(error: Error): void }} on */
  constructor(client, on) {
    this.#client = client;
    this.#on = on;
    byId("more").addEventListener("click", () => this.#read(this.#cursor).catch(on.failed));
  }

  /** Reads the newest page; older entries stay. */
  refresh() {
    return this.#read();
  }

  /** Adds a conversation that is not listed yet at the end of the list. */
  async find(id) {
    if (this.#known.has(id)) return;
    const entry = this.#entry(await this.#client.get(`/conversations/${id}`));
    onFrame(() => {
      this.#write(entry);
      byId("conversations").append(entry.element);
    });
  }

  /** Marks the open conversation. @param {string | undefined} id */
  mark(id) {
    this.#open = id;
    onFrame(() => {
      for (const { id: each, element } of this.#known.values()) {
        element.firstElementChild.ariaCurrent = each === id ? "page" : null;
      }
    });
  }

  /** Moves a conversation to the top, because it has a new message. */
  touch(id) {
    const entry = this.#entry({ id });
    onFrame(() => {
      const list = byId("conversations");
      this.#write(entry);
      if (list.firstElementChild !== entry.element) list.prepend(entry.element);
      this.#empty();
    });
  }

  /** Reads the title of a conversation. Returns whether it has changed. */
  async update(id) {
    const entry = this.#known.get(id);
    if (!entry || entry.leaving) return false;
    const before = entry.title;
    entry.asked = this.#client.get(`/conversations/${id}`);
    const { title } = await entry.asked;
    if (!this.#known.has(id)) return false; // another tab has deleted it
    entry.title = title ?? before;
    onFrame(() => this.#write(entry));
    return entry.title !== before;
  }

  /** @returns {string | undefined} */
  title(id) {
    return this.#known.get(id)?.title;
  }

  async rename(id) {
    const title = await askTitle(this.title(id) ?? "");
    if (!title) return;
    await this.#client.patch(`/conversations/${id}`, { title });
    const entry = this.#entry({ id, title });
    onFrame(() => this.#write(entry));
    this.#on.renamed(id, title);
  }

  async delete(id) {
    if (!(await confirmDeletion(this.title(id) ?? UNTITLED))) return;
    const entry = this.#known.get(id);
    if (!entry) return; // another tab has deleted it
    entry.leaving = true; // no new request for it; a running one ends before the deletion
    try {
      await entry.asked?.catch(() => {});
      await this.#client.delete(`/conversations/${id}`);
    } finally {
      entry.leaving = false;
    }
    this.forget(id);
    this.#on.deleted(id);
  }

  /** Removes a deleted conversation from the list. */
  forget(id) {
    const entry = this.#known.get(id);
    this.#known.delete(id);
    onFrame(() => {
      entry?.element.remove();
      this.#empty();
    });
  }

  async #read(cursor) {
    const query = new URLSearchParams({ limit: "30", ...(cursor && { cursor }) });
    const page = await this.#client.get(`/conversations?${query}`);
    if (cursor || this.#cursor === null) this.#cursor = page.cursor;
    const entries = page.conversations.map((each) => this.#entry(each));
    onFrame(() => {
      const list = byId("conversations");
      entries.forEach((entry, index) => {
        this.#write(entry);
        const place = cursor ? null : list.children[index];
        if (place !== entry.element && (!cursor || !entry.element.isConnected))
          list.insertBefore(entry.element, place ?? null);
      });
      byId("more").hidden = !this.#cursor;
      this.#empty();
    });
  }

  #entry({ id, title }) {
    const entry = this.#known.get(id) ?? { id, element: this.#make(id) };
    entry.title = title ?? entry.title;
    this.#known.set(id, entry);
    return entry;
  }

  #make(id) {
    const element = template("entry");
    element.firstElementChild.href = `#c=${id}`;
    element.querySelector(".rename").addEventListener("click", () => this.rename(id).catch(this.#on.failed));
    element.querySelector(".delete").addEventListener("click", () => this.delete(id).catch(this.#on.failed));
    return element;
  }

  #write({ id, title = UNTITLED, element }) {
    setText(element.firstElementChild, title);
    element.firstElementChild.ariaCurrent = id === this.#open ? "page" : null;
    element.querySelector(".rename").ariaLabel = `Edit title of ${title}`;
    element.querySelector(".delete").ariaLabel = `Delete ${title}`;
  }

  #empty() {
    byId("no-conversations").hidden = this.#known.size > 0;
  }
}
