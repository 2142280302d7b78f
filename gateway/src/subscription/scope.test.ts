import type { Viewer } from "@continuo/access";
import { expect, it } from "vitest";
import { type Scope, sharedCallerOf } from "./scope.ts";

const ada: Viewer = {
  userId: "ada",
  sessionId: "phone",
  deviceId: "phone",
  applicationId: "films",
  acr: "aal1",
  amr: ["pwd"],
  authTime: 0,
};
const adaWith = (changes: Partial<Viewer>): Viewer => ({ ...ada, ...changes });
const others = {
  laptop: adaWith({ sessionId: "laptop", deviceId: "laptop" }),
  "as strong, later": adaWith({ authTime: 9, amr: ["pwd", "otp"] }),
  stronger: adaWith({ acr: "aal2" }),
  "in another application": adaWith({ applicationId: "bank" }),
  "somebody else": adaWith({ userId: "alan" }),
  "somebody else, elsewhere": adaWith({ userId: "alan", applicationId: "bank" }),
};

it.each<[Scope, (keyof typeof others)[]]>([
  [
    "PUBLIC",
    ["laptop", "as strong, later", "stronger", "in another application", "somebody else", "somebody else, elsewhere"],
  ],
  ["APPLICATION", ["laptop", "as strong, later", "stronger", "somebody else"]],
  ["USER", ["laptop", "as strong, later"]],
  ["VIEWER", []],
])("what is %s is read together for these alone", (scope, expected) => {
  const own = sharedCallerOf(scope, ada);
  const together = Object.entries(others).filter(([, viewer]) => own && sharedCallerOf(scope, viewer)?.key === own.key);
  expect(together.map(([name]) => name)).toEqual(expected);
});

it("what several are told is asked in the name of no one of them", () => {
  expect(sharedCallerOf("PUBLIC", ada)?.caller).toEqual({ kind: "anonymous" });
  expect(sharedCallerOf("APPLICATION", ada)?.caller).toEqual({ kind: "application", applicationId: "films" });
});
