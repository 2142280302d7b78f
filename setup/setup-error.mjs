/**
 * Something about this machine keeps a command from running: a code, one sentence, what to do about it.
 * Each code has a section in docs/errors.md; a test keeps the two in step.
 */
export class SetupError extends Error {
  name = "SetupError";

  /** @param {string} code @param {string} sentence @param {string} fix */
  constructor(code, sentence, fix) {
    super(sentence);
    this.code = code;
    this.fix = fix;
  }

  /** For a terminal: code, sentence and fix, on three lines. */
  explain() {
    return `${this.code}  ${this.message}\n  Fix: ${this.fix}\n  More: docs/errors.md#${this.code.toLowerCase()}`;
  }
}
