/** What a person sees of an embedded system: one line per phase with its duration. Logs go to a file instead. */
export interface Terminal {
  say(text: string): void;
  /** Runs `work`, then prints how long it took; a failed phase is marked, and its error rethrown. */
  phase<Result>(name: string, work: () => Promise<Result>): Promise<Result>;
}

export function createTerminal(out: NodeJS.WritableStream): Terminal {
  const say = (text: string): void => void out.write(`${text}\n`);
  return {
    say,
    async phase(name, work) {
      const startedAt = performance.now();
      const end = (mark: string): void =>
        say(`  ${mark} ${name.padEnd(44)} ${((performance.now() - startedAt) / 1_000).toFixed(1).padStart(6)} s`);
      try {
        const result = await work();
        end("✓");
        return result;
      } catch (cause) {
        end("✗");
        throw cause;
      }
    },
  };
}
