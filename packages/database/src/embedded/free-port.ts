/** Ports of 127.0.0.1. */
import { once } from "node:events";
import { createServer } from "node:net";

/** Binds `wanted` (0: any) for a moment and returns the port, or undefined when it is in use. */
export async function freePort(wanted: number): Promise<number | undefined> {
  const server = createServer();
  try {
    await once(server.listen(wanted, "127.0.0.1"), "listening");
    const address = server.address();
    await once(server.close(), "close");
    return typeof address === "object" ? address?.port : undefined;
  } catch {
    return undefined;
  }
}
