/** A Redis server for the tests: the one given, one on PATH, or one that apt-get may install here. */
import { accessSync, constants, existsSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { capture, childEnv } from "./child.mjs";

/** The path of `redis-server` or `valkey-server` on PATH, or undefined. */
export function findRedisServer() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return ["redis-server", "valkey-server"]
    .flatMap((name) => folders.map((folder) => join(folder, name)))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Whether Redis may be installed here without asking: as root on Debian. */
export function canInstallRedis() {
  return process.getuid?.() === 0 && existsSync("/etc/debian_version") && existsSync("/usr/bin/apt-get");
}

/** Installs `redis-server` and keeps its service from starting. `findRedisServer` shows whether it worked. */
export async function installRedis() {
  const env = childEnv({ DEBIAN_FRONTEND: "noninteractive" });
  const apt = (...args) => capture("apt-get", ["-y", "-q", ...args], { env });
  const policy = "/usr/sbin/policy-rc.d";
  const ours = !existsSync(policy);
  // Debian runs this file before it starts a newly installed service; exit code 101 forbids it.
  if (ours) writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    const install = ["install", "--no-install-recommends", "redis-server"];
    if ((await apt(...install)).code === 0) return;
    await apt("update");
    await apt(...install);
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}
