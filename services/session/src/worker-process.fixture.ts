import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A worker as a process of its own; disposal kills it at once. */
export function startWorkerProcess(env: Record<string, string>): AsyncDisposable {
  const child = spawn(process.execPath, [fileURLToPath(new URL("./worker.fixture.ts", import.meta.url))], {
    env,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const exited = once(child, "exit");
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
