import { createIdentitySigner, generateKey } from "@continuo/access";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createReplica, startSystem, type GraphAnswer, type System } from "./system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

/** `status code reason` of an answer, which never shows our insides. */
function refusal({ status, text, errors }: GraphAnswer<unknown>): string {
  expect(text).not.toMatch(/ at .*\.ts|node_modules|SELECT|INSERT|user_state\./);
  const { code, reason } = errors?.[0]?.extensions ?? {};
  return `${status} ${code} ${reason}`;
}

const NAMESPACES = "{ stateNamespaces { name version fields { name kind } } }";

describe("the subgraph", () => {
  it("tells what may be stored", async () => {
    const { data } = await system.ask(createReplica(system).caller, NAMESPACES);
    expect(data).toEqual({
      stateNamespaces: [
        { name: "notes", version: 1, fields: [{ name: "*", kind: "REGISTER" }] },
        {
          name: "playback",
          version: 1,
          fields: [
            { name: "title", kind: "REGISTER" },
            { name: "position", kind: "PROGRESS" },
            { name: "furthestSeconds", kind: "MAX" },
            { name: "positionSeconds", kind: "REGISTER" },
          ],
        },
        { name: "preferences", version: 1, fields: [{ name: "*", kind: "REGISTER" }] },
      ],
    });
  });

  it("believes the gateway's word alone about who is calling", async () => {
    expect(refusal(await system.ask(undefined, NAMESPACES))).toBe("401 UNAUTHENTICATED INTERNAL_IDENTITY_REQUIRED");
    expect(refusal(await system.ask("made up", NAMESPACES))).toBe("401 UNAUTHENTICATED INTERNAL_IDENTITY_REQUIRED");
    const stranger = createIdentitySigner((await generateKey("Ed25519")).privateJwk);
    const signed = await stranger.sign(createReplica(system).caller);
    expect(refusal(await system.ask(signed, NAMESPACES))).toBe("401 UNAUTHENTICATED INTERNAL_IDENTITY_REQUIRED");
  });

  it("has nothing for the anonymous, nor for a service", async () => {
    const operations = [
      NAMESPACES,
      "{ pullState { to } }",
      `mutation { pushState(input: { clientId: "x", epoch: "x", clientNow: 0, baseRev: 0, ops: [] }) { lastSeq } }`,
      `{ _entities(representations: [{ __typename: "Device", id: "x" }]) { ... on Device { syncStatus { headRev } } } }`,
      `{ _entities(representations: [{ __typename: "Device", id: "x" }]) { ... on Device { resume { ageMs } } } }`,
      `{ _entities(representations: [{ __typename: "User", id: "x" }]) { ... on User { resume { ageMs } } } }`,
      `{ _entities(representations: [{ __typename: "User", id: "x" }]) { ... on User { state { to } } } }`,
      "{ activityChanges { to } }",
      `mutation { takeOver(activityId: "x") { fence } }`,
      `mutation { confirmFlush(activityId: "x", fence: 1) { id } }`,
      `mutation { endActivity(id: "x") { id } }`,
    ];
    for (const operation of operations) {
      for (const caller of [{ kind: "anonymous" }, { kind: "service", name: "gateway" }] as const)
        expect([operation, refusal(await system.ask(caller, operation))]).toEqual([
          operation,
          "200 UNAUTHENTICATED SIGN_IN_REQUIRED",
        ]);
    }
  });

  it.each([
    ["a field that does not exist", "{ nothing }", {}, "400 BAD_USER_INPUT DOCUMENT_INVALID"],
    ["no GraphQL", "{", {}, "400 BAD_USER_INPUT DOCUMENT_INVALID"],
    ["a page of nothing", "{ pullState(first: 0) { to } }", {}, "200 BAD_USER_INPUT INPUT_INVALID"],
    ["a page too large", "{ pullState(first: 501) { to } }", {}, "200 BAD_USER_INPUT INPUT_INVALID"],
    ["a replica without a UUID", `{ pullState(clientId: "me") { to } }`, {}, "200 BAD_USER_INPUT INPUT_INVALID"],
    ["no namespaces at all", "{ pullState(namespaces: []) { to } }", {}, "200 BAD_USER_INPUT INPUT_INVALID"],
    [
      "a cursor of megabytes",
      "query ($c: String) { pullState(since: $c) { to } }",
      { c: "x".repeat(100_000) },
      "200 BAD_USER_INPUT INPUT_INVALID",
    ],
    ["a subscription", "subscription { stateChanges { to } }", {}, "400 BAD_USER_INPUT SUBSCRIPTION_AT_GATEWAY"],
  ])("refuses %s with a reason", async (_, query, variables, expected) => {
    expect(refusal(await system.ask(createReplica(system).caller, query, variables))).toBe(expected);
  });

  it("refuses a whole push with a reason when it cannot be taken apart", async () => {
    const phone = createReplica(system);
    const op = { seq: 1, value: 1 };
    const many = Array.from({ length: 101 }, (_, index) => ({ ...op, seq: index + 1 }));
    const large = Array.from({ length: 5 }, (_, index) => ({
      seq: index + 1,
      key: `${index}`,
      value: "x".repeat(60_000),
    }));
    const huge = [{ seq: 1, value: "x".repeat(1_100_000) }];
    const cases = [
      [{ ops: [] }, "200 BAD_USER_INPUT INPUT_INVALID"],
      [{ ops: [{ ...op, seq: 0 }] }, "200 BAD_USER_INPUT INPUT_INVALID"],
      [{ ops: [{ ...op, seq: 1.5 }] }, "400 BAD_USER_INPUT VARIABLES_INVALID"],
      [{ ops: [{ ...op, seq: 2 ** 53 }] }, "400 BAD_USER_INPUT VARIABLES_INVALID"],
      [{ clientId: "me", ops: [op] }, "200 BAD_USER_INPUT INPUT_INVALID"],
      [{ epoch: "now", ops: [op] }, "200 BAD_USER_INPUT INPUT_INVALID"],
      [{ clientNow: -1, ops: [op] }, "400 BAD_USER_INPUT VARIABLES_INVALID"],
      [{ ops: many }, "200 BAD_USER_INPUT TOO_MANY_OPS"],
      [{ ops: large }, "200 BAD_USER_INPUT PUSH_TOO_LARGE"],
      [{ ops: huge }, "413 BAD_USER_INPUT BODY_TOO_LARGE"],
    ] as const;
    for (const [push, expected] of cases) expect(refusal(await phone.send(push))).toBe(expected);
    expect((await phone.pull()).headRev).toBe(0);
  });

  it("says that it lives and is ready", async () => {
    const ready = await fetch(new URL("/ready", system.url));
    expect(ready.status).toBe(200);
    expect(await ready.json()).toEqual({ ready: true, checks: { database: "ok" } });
  });
});
