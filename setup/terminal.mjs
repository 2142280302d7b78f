/** What a person sees: one line per phase with its duration; on a terminal the line is shown while the phase runs. */
let out = process.stdout;

/** From now on, everything goes to stderr: stdout is for a command's result. */
export function leaveStdoutAlone() {
  out = process.stderr;
}

/** Prints a line of text. */
export function say(text) {
  out.write(`${text}\n`);
}

/**
 * Runs `work` as a phase. Unless it is `alone`, its line appears when it ends. A failed phase is marked, and its error
 * rethrown.
 */
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
