/** What a person sees: one line a phase with its time; on a terminal the line is there while the phase runs. */
let out = process.stdout;

/** From here on it is said on stderr: stdout is for the result of a command. */
export function leaveStdoutAlone() {
  out = process.stderr;
}

/** Says something, as it is. */
export function say(text) {
  out.write(`${text}\n`);
}

/** Runs `work` as a phase; one that is not `alone` has its line when it ends. A failed one keeps its line, marked, and throws on. */
export async function phase(name, work, { alone = true } = {}) {
  const startedAt = performance.now();
  const live = alone && out.isTTY === true;
  if (live) out.write(`  … ${name}`);
  const end = (mark) => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    out.write(`${live ? "\r\u001B[K" : ""}  ${mark} ${name.padEnd(44)} ${seconds.padStart(6)} s\n`);
  };
  try {
    const result = await work();
    end("✓");
    return result;
  } catch (cause) {
    end("✗");
    throw cause;
  }
}
