/** A TCP proxy whose connections a test can reset, as a network may do. */

import { connect, createServer } from "node:net";

/**
 * Starts a proxy: `url` leads to `target`. `drop()` resets every connection, `close()` also refuses new ones.
 * @param {import("node:test").TestContext} t
 * @param {string} target
 */
export async function startProxy(t, target) {
  const { hostname, port, pathname } = new URL(target);
  const sockets = new Set();
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const [from, to] of [[near, far], [far, near]]) {
      sockets.add(from);
      from.on("error", () => {}).on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const drop = () => sockets.forEach((socket) => socket.resetAndDestroy());
  const close = () => {
    server.close();
    drop();
  };
  t.after(close);
  return { url: `http://127.0.0.1:${server.address().port}${pathname}`, drop, close };
}
