/** A separate Redis server for a test run or a test: on loopback, with nothing kept on disk. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";

/** The path of `redis-server` or `valkey-server`, if one is on PATH. */
export function findRedisServer(path = process.env["PATH"] ?? ""): string | undefined {
  const candidates = ["redis-server", "valkey-server"].flatMap((name) =>
    path.split(delimiter).map((folder) => join(folder, name)),
  );
  return candidates.find((candidate) => {
    try {
      accessSync(candidate, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export interface RedisServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
}

/** Starts `binary` on `port` (default: a free one) and waits until it accepts connections; disposal stops it. */
export async function startRedisServer(options: {
  binary: string;
  port?: number;
  args?: readonly string[];
}): Promise<RedisServer> {
  const { binary, args = [] } = options;
  const port = options.port ?? (await freePort());
  const folder = await mkdtemp(join(tmpdir(), "continuo-redis-"));
  const server = spawn(
    binary,
    [
      "--port",
      String(port),
      "--bind",
      "127.0.0.1",
      "--save",
      "",
      "--appendonly",
      "no",
      "--dir",
      folder,
      "--maxmemory-policy",
      "noeviction",
      ...args,
    ],
    { stdio: ["ignore", "pipe", "ignore"] },
  );
  const exited = once(server, "exit");
  const lines: string[] = [];
  const ready = Promise.withResolvers<void>();
  const output = createInterface({ input: server.stdout });
  output.on("line", (line) => {
    lines.push(line);
    if (line.includes("Ready to accept connections")) ready.resolve();
  });
  exited.then(
    () => ready.reject(new Error(`${binary} did not start:\n${lines.slice(-5).join("\n")}`)),
    (cause: unknown) => ready.reject(cause),
  );
  const stop = async (): Promise<void> => {
    if (server.exitCode === null && server.signalCode === null) {
      server.kill("SIGTERM");
      await exited;
    }
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await ready.promise;
  } catch (cause) {
    await stop();
    throw cause;
  }
  return { url: `redis://127.0.0.1:${port}`, port, [Symbol.asyncDispose]: stop };
}

/** A loopback TCP port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port was given");
  return address.port;
}
