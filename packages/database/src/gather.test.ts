import { describe, expect, it, onTestFinished, vi } from "vitest";
import { gather, type GatherOptions } from "./gather.ts";

/** A statement that answers on demand. */
function statement(options: GatherOptions): {
  call: (name: string) => Promise<string>;
  sent: string[][];
  finish: (fault?: Error) => Promise<void>;
} {
  const sent: string[][] = [];
  const underWay: { resolve: () => void; reject: (fault: Error) => void }[] = [];
  const call = gather(async (names: readonly string[]) => {
    sent.push([...names]);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    underWay.push({ resolve, reject });
    await promise;
    return names.map((name) => name.toUpperCase());
  }, options);
  const finish = async (fault?: Error): Promise<void> => {
    const first = underWay.shift();
    if (fault) first?.reject(fault);
    else first?.resolve();
    await tick();
    // One more turn, for calls that joined those waiting.
    await tick();
  };
  return { call, sent, finish };
}

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("calls that are gathered", () => {
  it("go at once when they are alone, and together when they have to wait", async () => {
    const { call, sent, finish } = statement({});
    const answers = [call("a")];
    await tick();
    answers.push(call("b"));
    await tick();
    answers.push(call("c"));
    await tick();
    expect(sent).toEqual([["a"]]);
    await finish();
    expect(sent).toEqual([["a"], ["b", "c"]]);
    await finish();
    expect(await Promise.all(answers)).toEqual(["A", "B", "C"]);
  });

  it("go together with what its answers cause, when one ends", async () => {
    const { call, sent, finish } = statement({});
    const again = call("a").then(() => call("c"));
    await tick();
    const answers = [again, call("b")];
    await finish();
    expect(sent).toEqual([["a"], ["b", "c"]]);
    await finish();
    expect(await Promise.all(answers)).toEqual(["C", "B"]);
  });

  it("are no more than so many together, and none is left behind", async () => {
    const { call, sent, finish } = statement({ atMost: 2 });
    const answers = [];
    for (const name of "abcdef") {
      answers.push(call(name));
      await tick();
    }
    expect(sent).toEqual([["a"]]);
    for (let turn = 0; turn < 4; turn += 1) await finish();
    expect(sent).toEqual([["a"], ["b", "c"], ["d", "e"], ["f"]]);
    expect(await Promise.all(answers)).toEqual(["A", "B", "C", "D", "E", "F"]);
  });

  it("go in halves of no fewer than eight, where they are to", async () => {
    const { call, sent, finish } = statement({ inHalves: true });
    const answers = [call("first")];
    await tick();
    for (let number = 0; number < 40; number += 1) answers.push(call(`call ${number}`));
    await tick();
    for (let turn = 0; turn < 5; turn += 1) await finish();
    expect(sent.map(({ length }) => length)).toEqual([1, 20, 10, 8, 2]);
    expect(await Promise.all(answers)).toHaveLength(41);
  });

  it("leave in halves before what is done with the answers of those before", async () => {
    const done: string[] = [];
    const run = async (names: readonly string[]): Promise<readonly string[]> => {
      // Like a connection, which sends its data at the end of the turn.
      process.nextTick(() => done.push(`sent ${names.join()}`));
      await tick();
      return names;
    };
    const call = gather(run, { inHalves: true });
    const first = call("a").then((name) => done.push(`answered ${name}`));
    await tick();
    await Promise.all([first, call("b")]);
    expect(done).toEqual(["sent a", "sent b", "answered a"]);
  });

  it("wait for one that hangs no longer than their patience, and begin once", async () => {
    const { call, sent, finish } = statement({ patienceMs: 20, atMost: 1 });
    const hangs = call("a");
    await tick();
    const answers = [hangs, call("b"), call("c")];
    await expect.poll(() => sent).toEqual([["a"], ["b"], ["c"]]);
    for (let turn = 0; turn < 3; turn += 1) await finish();
    expect(await Promise.all(answers)).toEqual(["A", "B", "C"]);
    expect(sent).toHaveLength(3);
  });

  it.each(["ends", "has lasted for long"])(
    "are sent once when the statement before them %s, and then nothing is",
    async (end) => {
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
      onTestFinished(() => void vi.useRealTimers());
      const held = Promise.withResolvers<void>();
      const sent: (readonly string[])[] = [];
      const call = gather(async (names: readonly string[]) => {
        sent.push(names);
        if (names.includes("a")) await held.promise;
        return names;
      });
      const before = call("a");
      await tick();
      const next = call("b");
      held.resolve();
      await before;
      // In the same turn in which the first one ended.
      if (end !== "ends") vi.runAllTimers();
      await next;
      vi.runAllTimers();
      await tick();
      expect(sent).toEqual([["a"], ["b"]]);
    },
  );

  it("fail together, and the next go on", async () => {
    const { call, sent, finish } = statement({});
    const fault = new Error("the connection was lost");
    const answers = Promise.allSettled([call("a"), call("b")]);
    await tick();
    const next = call("c");
    await finish(fault);
    expect(await answers).toEqual(["a", "b"].map(() => ({ status: "rejected", reason: fault })));
    await finish();
    expect(await next).toBe("C");
    expect(sent).toEqual([["a", "b"], ["c"]]);
    // The same call again is a new one.
    const again = call("c");
    await tick();
    await finish();
    expect(await again).toBe("C");
    expect(sent).toHaveLength(3);
  });

  it("fail together when some are not answered", async () => {
    const call = gather(async (names: readonly string[]) => names.slice(1));
    const answers = await Promise.allSettled([call("a"), call("b")]);
    expect(answers.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  });

  it("fail alone where that is their answer", async () => {
    const fault = new Error("no b");
    const call = gather(async (names: readonly string[]) => names.map((name) => (name === "b" ? fault : name)));
    expect(await Promise.allSettled([call("a"), call("b")])).toEqual([
      { status: "fulfilled", value: "a" },
      { status: "rejected", reason: fault },
    ]);
  });
});
