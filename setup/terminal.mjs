/** What a person sees: one line a phase with its time; on a terminal the line is there while the phase runs. */
const live = process.stdout.isTTY === true;

/** Says something, as it is. */
export function say(text) {
  process.stdout.write(`${text}\n`);
}

/** Runs `work` as a phase. A failed one keeps its line, marked, and throws on. */
export async function phase(name, work) {
  const startedAt = performance.now();
  if (live) process.stdout.write(`  … ${name}`);
  const end = (mark) => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    process.stdout.write(`${live ? "\r\u001B[K" : ""}  ${mark} ${name.padEnd(44)} ${seconds.padStart(6)} s\n`);
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
