/**
 * Measures the memory of a running Node process after garbage collection, through its inspector, which starts on a
 * signal and costs nothing before.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { WebSocket } from "ws";
import { z } from "zod";

/** A process that was started with the environment of `inspectable`. */
export interface Inspectable {
  readonly pid: number;
  readonly inspectorPort: number;
}

export interface Memory {
  /** The heap, and what buffers hold outside it. Bytes. */
  readonly heap: number;
  /** Resident set size, as the kernel reports it; undefined where the system does not. Bytes. */
  readonly resident: number | undefined;
}

/** Collecting a heap of hundreds of megabytes takes a while. */
const PATIENCE_MS = 60_000;
const Targets = z.tuple([z.object({ webSocketDebuggerUrl: z.string() })]);
const Usage = z.object({ result: z.object({ usedSize: z.number(), backingStorageSize: z.number().default(0) }) });

/** The environment that lets a process be inspected later. */
export function inspectable(port: number): Readonly<Record<string, string>> {
  return { NODE_OPTIONS: `--inspect-port=127.0.0.1:${port} --inspect-publish-uid=http` };
}

/** Collects the garbage, then measures. */
export async function memoryOf({ pid, inspectorPort }: Inspectable): Promise<Memory> {
  process.kill(pid, "SIGUSR1");
  const socket = new WebSocket(await inspectorOf(inspectorPort));
  try {
    await once(socket, "open");
    // Memory freed by one collection may have held what the next one frees.
    for (let times = 0; times < 3; times += 1) await ask(socket, "HeapProfiler.collectGarbage");
    const { usedSize, backingStorageSize } = Usage.parse(await ask(socket, "Runtime.getHeapUsage")).result;
    return { heap: usedSize + backingStorageSize, resident: residentBytes(pid) };
  } finally {
    socket.terminate();
  }
}

async function inspectorOf(port: number): Promise<string> {
  for (const until = performance.now() + PATIENCE_MS; ; await pause(50)) {
    try {
      const [target] = Targets.parse(await (await fetch(`http://127.0.0.1:${port}/json/list`)).json());
      return target.webSocketDebuggerUrl;
    } catch (cause) {
      if (performance.now() > until) throw cause;
    }
  }
}

async function ask(socket: WebSocket, method: string): Promise<unknown> {
  socket.send(JSON.stringify({ id: 1, method }));
  const [data]: unknown[] = await once(socket, "message", { signal: AbortSignal.timeout(PATIENCE_MS) });
  return JSON.parse(String(data));
}

/** proc_pid_status(5). */
function residentBytes(pid: number): number | undefined {
  if (process.platform !== "linux") return undefined;
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1_024;
}
