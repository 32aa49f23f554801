/** Limits changes of the page to one per animation frame. */

/** @type {Set<() => void>} */
const waiting = new Set();

/**
 * Runs `write` in the next animation frame, once, also if it is called several times before.
 * @param {() => void} write
 */
export function onFrame(write) {
  if (waiting.size === 0) requestAnimationFrame(run);
  waiting.add(write);
}

function run() {
  const writes = [...waiting];
  waiting.clear();
  for (const write of writes) {
    try {
      write();
    } catch (error) {
      reportError(error); // the other writes still run
    }
  }
}
