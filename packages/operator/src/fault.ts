/** Why a command could not be run as given: a code, a sentence, what to do. Clients never see it. */
export class OperatorFault extends Error {
  override readonly name = "OperatorFault";
  readonly code: "E_USAGE" | "E_NOT_CONFIRMED";
  /** What to do about it, as an instruction. */
  readonly fix: string;

  constructor(code: OperatorFault["code"], sentence: string, fix: string) {
    super(sentence);
    this.code = code;
    this.fix = fix;
  }
}
