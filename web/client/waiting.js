/**
 * Calls when the network may be back: it says so, or the page is hidden or looked at again.
 * @param {() => void} call
 * @param {AbortSignal} signal ends it
 */
function onWake(call, signal) {
  for (const name of ["online", "visibilitychange"]) globalThis.addEventListener?.(name, call, { signal });
}

/**
 * Waits `ms`, or less when aborted or, where `wakes`, woken; true when woken.
 * @param {number} ms
 * @param {{ signal?: AbortSignal, wakes?: boolean }} [options]
 * @returns {Promise<boolean>}
 */
export function pause(ms, { signal, wakes = false } = {}) {
  return new Promise((resolve) => {
    const over = new AbortController();
    /** @param {boolean} woken */
    const end = (woken) => {
      clearTimeout(timer);
      over.abort();
      resolve(woken);
    };
    const timer = setTimeout(end, ms, false);
    if (wakes) onWake(() => end(true), over.signal);
    signal?.addEventListener("abort", () => end(false), { signal: over.signal });
    if (signal?.aborted) end(false);
  });
}

/**
 * Aborts `signal` when nothing is heard for `ms`: the connection of a tab that slept hangs without an error.
 * @param {AbortSignal} parent aborts it too
 * @param {number} ms
 */
export function watch(parent, ms) {
  const line = new AbortController();
  const over = new AbortController();
  const abort = () => line.abort();
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  let heard = 0;
  const hear = () => {
    heard = Date.now();
    clearTimeout(timer);
    timer = setTimeout(abort, ms);
  };
  hear();
  onWake(() => Date.now() - heard > ms && abort(), over.signal); // timers sleep too
  parent.addEventListener("abort", abort, { signal: over.signal });
  if (parent.aborted) abort();
  const close = () => {
    clearTimeout(timer);
    over.abort();
  };
  return { signal: line.signal, hear, close };
}
