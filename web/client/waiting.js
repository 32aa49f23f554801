/**
 * Calls `call` when the network may be back: the browser is online again, or the page is hidden or shown.
 * @param {() => void} call
 * @param {AbortSignal} signal removes the listeners
 */
function onWake(call, signal) {
  for (const name of ["online", "visibilitychange"]) globalThis.addEventListener?.(name, call, { signal });
}

/**
 * Waits `ms`, or less if aborted. With `wakes`, also ends when the network may be back, and then returns true.
 * @param {number} ms
 * @param {{ signal?: AbortSignal, wakes?: boolean }} [options]
 * @returns {Promise<boolean>}
 */
export function pause(ms, { signal, wakes = false } = {}) {
  return new Promise((resolve) => {
    const listeners = new AbortController();
    /** @param {boolean} woken */
    const end = (woken) => {
      clearTimeout(timer);
      listeners.abort();
      resolve(woken);
    };
    const timer = setTimeout(end, ms, false);
    if (wakes) onWake(() => end(true), listeners.signal);
    signal?.addEventListener("abort", () => end(false), { signal: listeners.signal });
    if (signal?.aborted) end(false);
  });
}

/**
 * Aborts `signal` if `onChunk` is not called for `ms`. After a tab was suspended, its connection may hang without error.
 * @param {AbortSignal} parent aborts `signal` too
 * @param {number} ms
 */
export function abortWhenSilent(parent, ms) {
  const connection = new AbortController();
  const listeners = new AbortController();
  const abort = () => connection.abort();
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  let lastData = 0;
  const onChunk = () => {
    lastData = Date.now();
    clearTimeout(timer);
    timer = setTimeout(abort, ms);
  };
  onChunk();
  onWake(() => Date.now() - lastData > ms && abort(), listeners.signal); // timers are suspended with the tab
  parent.addEventListener("abort", abort, { signal: listeners.signal });
  if (parent.aborted) abort();
  const close = () => {
    clearTimeout(timer);
    listeners.abort();
  };
  return { signal: connection.signal, onChunk, close };
}
