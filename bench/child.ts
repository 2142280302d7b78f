/**
 * A separate process of the benchmark, so that its work shares no thread with anything else: it is started with
 * settings, reports when it is ready, answers questions one at a time, and ends when its parent does.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { z } from "zod";

const Reply = z.union([z.object({ answer: z.unknown() }), z.object({ failure: z.string() })]);

/** What a child started by `startChild` provides. */
export interface Service extends AsyncDisposable {
  /** Sent to the parent once everything is open. */
  readonly ready: unknown;
  answer?(question: unknown): Promise<unknown>;
}

export interface Child<Ready> extends AsyncDisposable {
  readonly pid: number;
  readonly ready: Ready;
  /** Rejects with the child's error message when it fails, and when it dies. */
  ask<Schema extends z.ZodType>(question: unknown, schema: Schema): Promise<z.output<Schema>>;
}

const STOP_MS = 5_000;

/** Starts `program` (a module that calls `serveParent`) and resolves when it is ready; `env` is added to our environment. */
export async function startChild<Schema extends z.ZodType>(
  program: URL,
  settings: unknown,
  Ready: Schema,
  env: Readonly<Record<string, string>> = {},
): Promise<Child<z.output<Schema>>> {
  const child = fork(program, {
    serialization: "advanced",
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    // As our processes run, and as the peers' documentation recommends; telemetry is off.
    env: { ...process.env, NODE_ENV: "production", APOLLO_TELEMETRY_DISABLED: "true", ...env },
  });
  const exited = once(child, "exit").then(([code, signal]: unknown[]) => `ended (${String(code ?? signal)})`);

  async function ask<Answer extends z.ZodType>(question: unknown, schema: Answer): Promise<z.output<Answer>> {
    const reply = Promise.race([
      once(child, "message").then(([message]: unknown[]) => message),
      exited.then((words) => ({ failure: words })),
    ]);
    if (child.connected) child.send({ question });
    const parsed = Reply.parse(await reply);
    if ("failure" in parsed) throw new Error(`${program.pathname.split("/").pop()}: ${parsed.failure}`);
    return schema.parse(parsed.answer);
  }

  async function stop(): Promise<void> {
    if (child.connected) child.disconnect();
    const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await exited;
    clearTimeout(killer);
  }

  try {
    const ready = await ask(settings, Ready);
    return { pid: child.pid ?? 0, ready, ask, [Symbol.asyncDispose]: stop };
  } catch (cause) {
    await stop();
    throw cause;
  }
}

const Message = z.object({ question: z.unknown() });

/** The child's side: the first question is its settings, answered with `ready`. */
export function serveParent(start: (settings: unknown) => Promise<Service>): void {
  let service: Promise<Service> | undefined;

  async function answer(question: unknown): Promise<unknown> {
    if (service) return (await service).answer?.(question);
    service = start(question);
    return (await service).ready;
  }

  process.on("message", (message) => {
    const { question } = Message.parse(message);
    answer(question).then(
      (found) => process.connected && process.send?.({ answer: found }),
      (cause: unknown) => process.connected && process.send?.({ failure: String(cause) }),
    );
  });
  process.once("disconnect", () => {
    void Promise.resolve(service)
      .then((opened) => opened?.[Symbol.asyncDispose]())
      .finally(() => process.exit(0));
  });
}
