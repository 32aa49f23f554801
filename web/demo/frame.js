/** The page is written once per animation frame, however fast events come. */

/** @type {Set<() => void>} */
const waiting = new Set();

/**
 * Runs `write` in the next animation frame; asked for many times before it, it runs once.
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
      reportError(error); // the others are written all the same
    }
  }
}
