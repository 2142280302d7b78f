import { AppError } from "@continuo/errors";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { OperatorFault } from "./fault.ts";
import { parseOptions, type AddCommands, type Operator, type Report } from "./operator.ts";
import { runProgram } from "./program.ts";

interface Equipment {
  readonly place: string;
}

interface Terminal {
  readonly isTTY?: boolean;
  /** Default: as `isTTY`. */
  readonly showsQuestions?: boolean;
  readonly answer?: string;
  readonly signal?: AbortSignal;
}

/** Runs `things do` with the given work, and returns the result. */
async function run(
  work: (operator: Operator<Equipment>) => Promise<Report>,
  argv: readonly string[] = [],
  { isTTY = false, showsQuestions = isTTY, answer, signal = new AbortController().signal }: Terminal = {},
): Promise<{ code: number; out: string; said: string }> {
  const [stdin, stdout, stderr] = [isTTY, isTTY, showsQuestions].map((is) =>
    Object.assign(new PassThrough(), { isTTY: is }),
  );
  if (stdin === undefined || stdout === undefined || stderr === undefined) throw new Error("three streams");
  const commands: AddCommands<Equipment> = (program, action) => {
    program
      .command("things")
      .command("do")
      .option("--count <count>")
      .action(
        action((operator, { options }) => {
          parseOptions(z.object({ count: z.coerce.number().int().optional() }), options);
          return work(operator);
        }),
      );
  };
  if (answer !== undefined) stdin.end(answer);
  const code = await runProgram(["things", "do", ...argv], {
    commands: [commands],
    name: "continuo",
    description: "Commands.",
    example: "continuo things do",
    equipment: { place: "here" },
    signal,
    streams: { stdin, stdout, stderr },
    monotonic: () => 0,
  });
  stdout.end();
  stderr.end();
  const [out, said] = await Promise.all([text(stdout), text(stderr)]);
  return { code, out, said };
}

const done = async (): Promise<Report> => ({ value: [{ id: "a", lastSeenAt: new Date(0), of: null }] });
const confirming = async (operator: Operator<Equipment>): Promise<Report> => {
  await operator.confirm("Delete all of it?");
  return { value: { dryRun: operator.dryRun } };
};

describe("a command", () => {
  it("prints one JSON document, or a table for a person", async () => {
    expect(await run(done, ["--json"])).toEqual({
      code: 0,
      out: `[{"id":"a","lastSeenAt":"1970-01-01T00:00:00.000Z","of":null}]\n`,
      said: "",
    });
    expect(await run(done)).toEqual({
      code: 0,
      out: "id  last seen at              of\na   1970-01-01T00:00:00.000Z  -\n",
      said: "",
    });
    expect((await run(async () => ({ value: [{ id: "a" }, { id: "b", error: "HTTP_500" }] }))).out).toBe(
      "id  error\na   -\nb   HTTP_500\n",
    );
  });

  it("gets what its service equips it with", async () => {
    expect((await run(async ({ place }) => ({ value: { place } }))).out).toBe("place  here\n");
  });

  it("may have stdout to itself: its result is told aside", async () => {
    const work = async ({ stdout }: Operator<Equipment>): Promise<Report> => {
      stdout.write("a file\n");
      return { value: { lines: 1 }, aside: true };
    };
    expect(await run(work, ["--json"])).toEqual({ code: 0, out: "a file\n", said: '{"lines":1}\n' });
  });

  it("shows a terminal no control characters of other people's making", async () => {
    expect((await run(async () => ({ value: { name: "\u001B[2Jx" } }))).out).toBe("name   [2Jx\n");
  });

  it("says by its exit code what came of it", async () => {
    const ending = async (outcome: NonNullable<Report["outcome"]>): Promise<number> =>
      (await run(async () => ({ value: null, outcome }))).code;
    expect([await ending("DONE"), await ending("FAILED"), await ending("PARTIAL")]).toEqual([0, 1, 3]);
    const throwing = async (cause: Error): Promise<number> => (await run(() => Promise.reject(cause))).code;
    expect(await throwing(new Error("the disk is full"))).toBe(1);
    expect(await throwing(new AppError("NOT_FOUND", "KEY_NOT_FOUND", "No such key."))).toBe(1);
    expect(await throwing(new OperatorFault("E_USAGE", "Not so.", "Otherwise."))).toBe(2);
  });

  it("says what is wrong in one sentence with its code and what to do, as text or as JSON", async () => {
    expect((await run(done, ["--count", "x"])).said).toBe(
      "E_USAGE  count: Invalid input: expected number, received NaN\n  Fix: Add --help to the command to see what it takes.\n",
    );
    expect(await run(done, ["--nothing", "--json"])).toEqual({
      code: 2,
      out: "",
      said: `{"error":{"code":"E_USAGE","message":"unknown option '--nothing'","fix":"Add --help to the command to see what it takes."}}\n`,
    });
    const refused = () => Promise.reject(new AppError("NOT_FOUND", "KEY_NOT_FOUND", "No such key."));
    expect((await run(refused)).said).toBe("NOT_FOUND/KEY_NOT_FOUND  No such key.\n");
    const foreign = () => Promise.reject(Object.assign(new Error("The disk is full."), { code: "ENOSPC" }));
    expect((await run(foreign)).said).toBe("E_UNEXPECTED  The disk is full.\n");
  });

  it("asks a person before what cannot be taken back", async () => {
    const terminal = { isTTY: true };
    expect(await run(confirming, [], { ...terminal, answer: "y\n" })).toMatchObject({ code: 0 });
    for (const answer of ["n\n", "\n", ""]) {
      expect(await run(confirming, [], { ...terminal, answer })).toMatchObject({
        code: 3,
        out: "",
        said: expect.stringContaining("Delete all of it? [y/N]"),
      });
    }
    const leaving = new AbortController();
    const left = run(confirming, [], { ...terminal, signal: leaving.signal });
    setImmediate(() => leaving.abort());
    expect(await left).toMatchObject({ code: 3, said: expect.stringContaining("Nothing was changed.") });
  });

  it("refuses what cannot be taken back where nobody can be asked, unless that is said before", async () => {
    expect(await run(confirming)).toMatchObject({ code: 3, said: expect.stringContaining("Add --yes.") });
    expect(await run(confirming, ["--json"], { isTTY: true })).toMatchObject({ code: 3 });
    const unseen = { isTTY: true, showsQuestions: false, answer: "y\n" };
    expect(await run(confirming, [], unseen)).toMatchObject({ code: 3 });
    expect(await run(confirming, ["--yes"])).toMatchObject({ code: 0 });
    expect(await run(confirming, ["--dry-run"])).toMatchObject({ code: 0, out: "dry run  true\n" });
  });

  it("tells its progress on stderr", async () => {
    const work = async (operator: Operator<Equipment>): Promise<Report> => {
      operator.progress("rows", 1, 2);
      operator.progress("rows", 2, 2);
      return { value: {} };
    };
    expect((await run(work, ["--json"])).said).toBe(
      `{"progress":{"what":"rows","done":1,"total":2}}\n{"progress":{"what":"rows","done":2,"total":2}}\n`,
    );
    expect((await run(work)).said).toBe("  rows: 1 of 2\n  rows: 2 of 2\n");
    expect((await run(work, [], { isTTY: true })).said).toBe(
      "\r\u001B[K  rows: 1 of 2\r\u001B[K  rows: 2 of 2\r\u001B[K",
    );
  });

  it("explains itself", async () => {
    expect(await run(done, ["--help"])).toMatchObject({ code: 0, out: expect.stringContaining("--dry-run") });
  });
});
