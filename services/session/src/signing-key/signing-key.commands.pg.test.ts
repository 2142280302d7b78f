import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { operate, type Outcome } from "../operator.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

const Keys = z.array(z.object({ kid: z.string(), state: z.string() }));

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const continuo = (...argv: string[]): Promise<Outcome> => operate(system, ...argv);
const keys = async (): Promise<z.infer<typeof Keys>> => Keys.parse((await continuo("keys", "list")).value);
const states = async (): Promise<string[]> => (await keys()).map(({ state }) => state).sort();

describe("an operator", () => {
  it("begins a rotation, once, and only when it is meant", async () => {
    expect(await continuo("keys", "rotate", "--dry-run")).toMatchObject({ code: 0, value: { published: true } });
    expect(await states()).toEqual(["ACTIVE"]);
    expect(await continuo("keys", "rotate")).toMatchObject({ code: 0, value: { published: true } });
    expect(await continuo("keys", "rotate")).toMatchObject({ code: 0, value: { published: false } });
    expect(await states()).toEqual(["ACTIVE", "NEXT"]);
  });

  it("takes a key back at once, when they say so twice, and people go on with one refresh", async () => {
    const person = await system.person().signIn();
    const active = (await keys()).find(({ state }) => state === "ACTIVE")?.kid ?? "";
    expect(await continuo("keys", "retire", active)).toMatchObject({ code: 2 });
    expect(await continuo("keys", "retire", active, "--now")).toMatchObject({ code: 3 });
    expect(await continuo("keys", "retire", active, "--now", "--dry-run")).toMatchObject({ code: 0 });
    expect(await states()).toEqual(["ACTIVE", "NEXT"]);
    expect(await continuo("keys", "retire", active, "--now", "--yes")).toMatchObject({
      code: 0,
      value: { kid: active, was: "ACTIVE" },
    });
    expect(await states()).toEqual(["ACTIVE", "RETIRED"]);
    expect((await person.refresh()).accessToken).toBeTypeOf("string");
    for (const how of ["--yes", "--dry-run"]) {
      const again = await continuo("keys", "retire", active, "--now", how);
      expect(again).toMatchObject({ code: 1, said: expect.stringContaining("KEY_NOT_FOUND") });
    }
  });
});
