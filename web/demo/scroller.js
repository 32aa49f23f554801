import { byId } from "./elements.js";
import { onFrame } from "./frame.js";

const END = 8; // pixels above the end that still count as the end
const PAUSE = 150; // ms after a movement up during which a movement down does not follow again (inertia, overscroll)
const SLOP = 4; // pixels that a finger may move without scrolling
const UPWARDS = new Set(["ArrowUp", "PageUp", "Home"]);

/**
 * Follows the newest text until the user scrolls up. The direction of the movement decides and not the position. With
 * the position, each small movement up near the end would be undone in the next frame.
 */
export class Scroller {
  #view = byId("scroller");
  #follows = true;
  #top = 0; // the last known scroll position
  #movedUp = -Infinity; // time of the last movement up
  #finger = 0; // highest position of the finger since its last movement down

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

  /** Called after each change of the answer. */
  follow() {
    if (this.#follows && this.#below > 0) this.#moveTo(this.#view.scrollHeight); // a write ends an animated movement
    this.#showButton();
  }

  toEnd() {
    this.#follows = true;
    onFrame(() => this.follow());
  }

  /** Runs a write above the visible text, and keeps that text at its place. */
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

  /** The user has scrolled, or the browser has moved the view to the new end because the content became shorter. */
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
    if (this.#view.scrollTop <= 0) return; // already at the top
    this.#follows = false;
    this.#movedUp = performance.now();
  }

  #showButton = () => {
    const hidden = this.#follows || this.#below <= END;
    if (byId("latest").hidden !== hidden) byId("latest").hidden = hidden;
  };
}
