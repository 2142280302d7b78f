/**
 * Hocuspocus as its documentation starts it, without extensions: documents live in memory, changes are relayed and not stored.
 */
import { Server } from "@hocuspocus/server";
import { serveParent } from "../child.ts";

serveParent(async () => {
  const server = new Server({ address: "127.0.0.1", port: 0, quiet: true, stopOnSignals: false });
  await server.listen();
  return {
    ready: `ws://127.0.0.1:${server.address.port}`,
    async [Symbol.asyncDispose]() {
      await server.destroy();
    },
  };
});
