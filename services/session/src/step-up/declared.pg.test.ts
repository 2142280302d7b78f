/**
 * Compares what the graph declares about recent sign-ins, which the gateway enforces, with what this service itself
 * requires.
 */
import { loadTypeDefs } from "@continuo/subgraph";
import { type FieldDefinitionNode, Kind, valueFromASTUntyped } from "graphql";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { faultOf, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

/**
 * The mutations of a signed-in caller. `signOutDevice` and `signOutSession` require a recent sign-in depending on their
 * argument: here it is the caller's own, which needs none; `selectors.pg.test.ts` covers others.
 */
const OPERATIONS: Readonly<Record<string, (own: SignedIn) => string>> = {
  renameDevice: (own) => `renameDevice(id: "${own.viewer.deviceId}", name: "Phone") { id }`,
  signOut: () => "signOut { receipt { seq } }",
  signOutDevice: (own) => `signOutDevice(id: "${own.viewer.deviceId}") { receipt { seq } }`,
  signOutOtherDevices: () => "signOutOtherDevices { receipt { seq } }",
  signOutSession: (own) => `signOutSession(id: "${own.viewer.sessionId}") { receipt { seq } }`,
  undoSignOut: () => `undoSignOut(seq: "1") { receipt { seq } }`,
  signOutEverywhere: () => "signOutEverywhere { receipt { seq } }",
};
/** Mutations that need no signed-in caller. */
const BEGINS_SESSIONS = ["startSession", "refreshSession", "stepUp"];

/** The mutations that clients see. */
const mutations = loadTypeDefs(join(import.meta.dirname, ".."))
  .definitions.flatMap((definition) =>
    definition.kind === Kind.OBJECT_TYPE_EXTENSION && definition.name.value === "Mutation"
      ? (definition.fields ?? [])
      : [],
  )
  .filter(({ directives = [] }) => !directives.some(({ name }) => name.value === "inaccessible"));
const isDeclaredRecent = ({ directives = [] }: FieldDefinitionNode): boolean =>
  directives.some(
    ({ name, arguments: given = [] }) =>
      name.value === "requiresAuth" &&
      given.some((argument) => argument.name.value === "recent" && valueFromASTUntyped(argument.value) === true),
  );

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(async () => system[Symbol.asyncDispose]());

it("is compared for every mutation; who is not signed in yet cannot be asked", () => {
  const names = mutations.map(({ name }) => name.value);
  expect(names.toSorted()).toEqual([...Object.keys(OPERATIONS), ...BEGINS_SESSIONS].toSorted());
  expect(mutations.filter(({ name }) => BEGINS_SESSIONS.includes(name.value)).filter(isDeclaredRecent)).toEqual([]);
});

it.each(Object.entries(OPERATIONS))(
  "%s asks for a recent sign-in exactly if it declares that",
  async (field, write) => {
    const person = system.person();
    const own = await person.signIn();
    system.clock.advance(301_000);
    const fault = faultOf(await own.graphql(`mutation { ${write(own)} }`));
    const declared = mutations.filter(isDeclaredRecent).map(({ name }) => name.value);
    expect(fault === "STEP_UP_REQUIRED AUTHENTICATION_TOO_OLD").toBe(declared.includes(field));
  },
);
