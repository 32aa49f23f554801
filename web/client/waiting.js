/**
 * Calls when the network may be back: it says so, or the page is looked at again. Returns what ends it.
 * @param {() => void} call
 */
function onWake(call) {
  const page = globalThis.document;
  const looked = () => page.visibilityState === "visible" && call();
  globalThis.addEventListener?.("online", call);
  page?.addEventListener("visibilitychange", looked);
  return () => {
    globalThis.removeEventListener?.("online", call);
    page?.removeEventListener("visibilitychange", looked);
  };
}

/**
 * Waits `ms`, or less when aborted or, where `wakes`, woken; true when woken.
 * @param {number} ms
 * @param {{ signal?: AbortSignal, wakes?: boolean }} [options]
 * @returns {Promise<boolean>}
 */
export function pause(ms, { signal, wakes = false } = {}) {
  return new Promise((resolve) => {
    /** @param {boolean} woken */
    const end = (woken) => {
      clearTimeout(timer);
      unlisten?.();
      signal?.removeEventListener("abort", aborted);
      resolve(woken);
    };
    const aborted = () => end(false);
    const timer = setTimeout(end, ms, false);
    const unlisten = wakes ? onWake(() => end(true)) : undefined;
    signal?.addEventListener("abort", aborted);
    if (signal?.aborted) aborted();
  });
}

/**
 * Aborts `signal` when nothing is heard for `ms`: the connection of a tab that slept hangs without an error.
 * @param {AbortSignal} parent aborts it too
 * @param {number} ms
 */
export function watch(parent, ms) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  let heard = 0;
  const hear = () => {
    heard = Date.now();
    clearTimeout(timer);
    timer = setTimeout(abort, ms);
  };
  const unlisten = onWake(() => Date.now() - heard > ms && abort()); // timers sleep too
  parent.addEventListener("abort", abort);
  if (parent.aborted) abort();
  hear();
  const close = () => {
    clearTimeout(timer);
    unlisten();
    parent.removeEventListener("abort", abort);
  };
  return { signal: controller.signal, hear, close };
}
