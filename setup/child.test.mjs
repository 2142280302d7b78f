import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { root } from "./place.mjs";

/** An entry point like `run.mjs`, for a program that counts the signals it gets. */
function startDoor(program) {
  const door = `import { run } from "./setup/child.mjs"; process.exitCode = await run(process.execPath, ["-e", ${JSON.stringify(program)}], { tether: true });`;
  return spawn(process.execPath, ["--input-type=module", "-e", door], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
  });
}

const COUNTS = `
  let count = 0;
  process.on("SIGINT", () => { count += 1; setTimeout(() => { console.log("signals: " + count); process.exit(7); }, 100); });
  process.on("disconnect", () => { console.log("left alone"); process.exit(0); });
  console.log("pid " + process.pid);`;

async function readUntil(stream, pattern) {
  let text = "";
  for await (const chunk of stream) {
    text += chunk;
    const found = pattern.exec(text);
    if (found) return found;
  }
  throw new Error(`never said ${pattern}: ${text}`);
}

test("Ctrl-C, which comes from the terminal and again from npm, reaches the program once; its exit code comes back", async () => {
  const door = startDoor(COUNTS);
  const ended = once(door, "close");
  door.stdout.setEncoding("utf8");
  const lines = [];
  door.stdout.on("data", (text) => lines.push(text));
  await once(door.stdout, "data");
  door.kill("SIGINT");
  door.kill("SIGINT");

  expect(await ended).toEqual([7, null]);
  expect(lines.join("")).toContain("signals: 1");
});

test("a program whose door was killed learns of it", async () => {
  const door = startDoor(COUNTS);
  door.stdout.setEncoding("utf8");
  const [, pid] = await readUntil(door.stdout.iterator({ destroyOnReturn: false }), /pid (\d+)/);
  door.kill("SIGKILL");

  await readUntil(door.stdout, /left alone/);
  expect(Number(pid)).toBeGreaterThan(0);
});

test("when the shell in front of the door dies, the program is told to stop", async () => {
  const program = `process.on("SIGTERM", () => { console.log("told to stop"); process.exit(0); }); setInterval(() => {}, 1000); console.log("up");`;
  const door = `import { run } from "./setup/child.mjs"; process.exitCode = await run(process.execPath, ["-e", process.argv[1]]);`;
  const shell = spawn("sh", ["-c", '"$0" --input-type=module -e "$1" "$2"; true', process.execPath, door, program], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
  });
  shell.stdout.setEncoding("utf8");
  await readUntil(shell.stdout.iterator({ destroyOnReturn: false }), /up/);
  shell.kill("SIGKILL");

  expect(await readUntil(shell.stdout, /told to stop/)).toBeTruthy();
});

test("a program that died of a signal gives 128 and the signal's number", async () => {
  const door = startDoor(`process.kill(process.pid, "SIGKILL")`);
  expect(await once(door, "close")).toEqual([137, null]);
});
