/** A TCP proxy that fails on demand: the network between a process and its database, bus or service. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface FaultProxy extends AsyncDisposable {
  readonly port: number;
  /** Breaks every open connection; new ones are accepted. */
  cut(): void;
  /** Breaks every open connection and each new one, until `heal`. */
  down(): void;
  /** Stops all traffic on open connections without closing them: half-open, until `heal` cuts them. */
  freeze(): void;
  heal(): void;
}

/** Listens on a free loopback port and forwards everything to `target`. */
export async function startFaultProxy(target: { host: string; port: number }): Promise<FaultProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let isDown = false;

  function cut(): void {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
  }

  const server = createServer((near) => {
    if (isDown) return void near.destroy();
    const far = connect(target);
    const pair = [near, far] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [far, near] as const]) {
      from.on("error", () => undefined);
      from.on("close", () => {
        to.destroy();
        pairs.delete(pair);
      });
      from.pipe(to);
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port was given");

  return {
    port: address.port,
    cut,
    down: () => {
      isDown = true;
      cut();
    },
    freeze: () => {
      for (const pair of pairs) for (const socket of pair) socket.unpipe().pause();
    },
    heal: () => {
      isDown = false;
      cut();
    },
    async [Symbol.asyncDispose]() {
      server.close();
      cut();
      await once(server, "close");
    },
  };
}

/** `url` as it is reached through a proxy. */
export function throughProxy(url: string, proxy: FaultProxy): string {
  const reached = new URL(url);
  reached.hostname = "127.0.0.1";
  reached.port = String(proxy.port);
  return reached.href;
}

/** Where `url` points, for a proxy to pass on to. */
export function targetOf(url: string, defaultPort: number): { host: string; port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: port === "" ? defaultPort : Number(port) };
}
