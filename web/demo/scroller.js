import { byId } from "./elements.js";
import { onFrame } from "./frame.js";

const END = 8; // pixels above the end that still count as the end
const PAUSE = 150; // ms from a movement up to one down that follows again: inertia and rubber bands swing back
const SLOP = 4; // pixels that a finger moves without meaning it
const UPWARDS = new Set(["ArrowUp", "PageUp", "Home"]);

/**
 * Keeps the newest text in sight until the reader moves up. The direction of a movement decides, not the position: a
 * position near the end would undo each small step up with the next frame.
 */
export class Scroller {
  #view = byId("scroller");
  #follows = true;
  #top = 0; // where the view was when it was last looked at
  #movedUp = -Infinity; // when
  #finger = 0; // its highest place since it last moved down

  constructor() {
    const listen = (type, run) => this.#view.addEventListener(type, run, { passive: true });
    listen("scroll", () => this.#moved());
    listen("wheel", ({ deltaX, deltaY, ctrlKey }) => {
      if (!ctrlKey && -deltaY > Math.abs(deltaX)) this.#release(); // with ctrl it is a pinch
    });
    listen("touchstart", ({ touches }) => (this.#finger = touches[0].clientY));
    listen("touchmove", ({ touches }) => touches.length === 1 && this.#touched(touches[0].clientY));
    document.addEventListener("keydown", ({ key, shiftKey, target }) => {
      const scrolls = target === document.body || this.#view.contains(target);
      if (scrolls && (UPWARDS.has(key) || (key === " " && shiftKey))) this.#release();
    });
    new ResizeObserver(() => this.follow()).observe(this.#view);
    byId("latest").addEventListener("click", () => this.toEnd());
  }

  /** After each write of a growing answer. */
  follow() {
    if (this.#follows && this.#below > 0) this.#moveTo(this.#view.scrollHeight); // a write ends an animated movement
    this.#showButton();
  }

  toEnd() {
    this.#follows = true;
    onFrame(() => this.follow());
  }

  /** Runs a write above what is being read, which stays where it is. */
  keeping(write) {
    const below = this.#view.scrollHeight - this.#view.scrollTop;
    write();
    this.#moveTo(this.#view.scrollHeight - below);
  }

  get #below() {
    return this.#view.scrollHeight - this.#view.scrollTop - this.#view.clientHeight;
  }

  #moveTo(top) {
    this.#view.scrollTop = top;
    this.#top = this.#view.scrollTop;
  }

  /** By the reader, or by the browser, which moves a view whose content became shorter to its new end. */
  #moved() {
    const top = this.#view.scrollTop;
    if (top < this.#top && this.#below > 1) this.#release();
    else if (top > this.#top && this.#below <= END && performance.now() - this.#movedUp >= PAUSE) this.#follows = true;
    this.#top = top;
    onFrame(this.#showButton);
  }

  #touched(y) {
    if (y - this.#finger > SLOP) this.#release();
    if (y < this.#finger || y - this.#finger > SLOP) this.#finger = y;
  }

  #release() {
    if (this.#view.scrollTop <= 0) return; // there is nothing further up
    this.#follows = false;
    this.#movedUp = performance.now();
  }

  #showButton = () => {
    const hidden = this.#follows || this.#below <= END;
    if (byId("latest").hidden !== hidden) byId("latest").hidden = hidden;
  };
}
