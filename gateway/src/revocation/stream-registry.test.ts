import type { AppError } from "@continuo/errors";
import { expect, it } from "vitest";
import { createRevocationSet } from "./revocation-set.ts";
import type { SessionStream } from "./stream-registry.ts";
import { createStreamRegistry } from "./stream-registry.ts";
import type { SessionClaims } from "./standing.ts";

interface Stream extends SessionStream {
  readonly heard: string[];
}

/** A stream of a session; `isOpen: false`: it is closing already. */
function stream(sid: string, posture: SessionClaims["posture"] = "STRICT", isOpen = true): Stream {
  const heard: string[] = [];
  return {
    transport: "SOCKET",
    session: { sid, posture },
    heard,
    end: ({ reason }: AppError) => heard.push(reason) > 0 && isOpen,
  };
}

it("ends every stream of a session once, and counts those that it closed", () => {
  const registry = createStreamRegistry(createRevocationSet(() => 0));
  const [one, two, closing, other] = [stream("s1"), stream("s1"), stream("s1", "STRICT", false), stream("s2")];
  for (const each of [one, two, closing, other]) registry.add(each);
  expect(registry.endSession("s1", "SIGNED_OUT")).toBe(2);
  expect(registry.endSession("s1", "SIGNED_OUT")).toBe(0);
  expect([one, two, closing, other].map(({ heard }) => heard)).toEqual([
    ["SESSION_ENDED"],
    ["SESSION_ENDED"],
    ["SESSION_ENDED"],
    [],
  ]);
});

it("takes none of a session that has ended, and again once that is taken back", () => {
  const revocations = createRevocationSet(() => 0);
  const registry = createStreamRegistry(revocations);
  revocations.add("s1", "SIGNED_OUT");
  expect(() => registry.add(stream("s1"))).toThrow(expect.objectContaining({ reason: "SESSION_ENDED" }));
  revocations.remove("s1");
  registry.add(stream("s1"));
  expect(registry.endSession("s1", "SIGNED_OUT")).toBe(1);
});

it("bounds the streams of a session, and those that left count no longer", () => {
  const registry = createStreamRegistry(createRevocationSet(() => 0));
  const many = Array.from({ length: 32 }, () => stream("s1"));
  for (const each of many) registry.add(each);
  registry.add(stream("s2"));
  expect(() => registry.add(stream("s1"))).toThrow(expect.objectContaining({ reason: "TOO_MANY_STREAMS" }));
  for (const each of many) registry.remove(each);
  registry.add(stream("s1"));
  expect(registry.endSession("s1", "SIGNED_OUT")).toBe(1);
});

it("ends what may not stay open while nothing can be known, by the posture that was shown last", () => {
  const registry = createStreamRegistry(createRevocationSet(() => 0));
  const streams = [stream("s1", "CLOSED"), stream("s2", "STRICT"), stream("s3", "OPEN")];
  for (const each of streams) registry.add(each);
  registry.endUnknown();
  registry.endUnknown();
  expect(streams.map(({ heard }) => heard)).toEqual([["REVOCATION_UNKNOWN"], [], []]);
});
