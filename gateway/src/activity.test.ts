import { createLogger } from "@continuo/process";
import { expect, it } from "vitest";
import { eventually } from "./fixtures/eventually.ts";
import { startActivity } from "./activity.ts";
import type { GatewayContext } from "./context.ts";

const logger = createLogger({ name: "test", level: "silent" });

function use(sessionId: string, generation = 1): GatewayContext {
  const viewer = { userId: "u", sessionId, deviceId: "d", applicationId: "a", acr: "aal1", amr: [], authTime: 0 };
  return { caller: { kind: "viewer", viewer }, grant: { grantId: "g", generation }, requestId: "r", logger };
}

it("reports each session once a batch, at most a thousand of them, and what is left on closing", async () => {
  const batches: number[] = [];
  const session = {
    post: async (_path: string, body: unknown) => void batches.push(JSON.stringify(body).split("sessionId").length - 1),
  };
  const activity = startActivity({ session, logger, reportEveryMs: 60_000 });
  for (let index = 0; index < 1_500; index += 1) activity.note(use(`s${index % 1_200}`));
  await activity[Symbol.asyncDispose]();
  expect(batches).toEqual([1_000, 200]);
});

it("keeps what could not be reported, with the latest use of each session", async () => {
  const sent: unknown[] = [];
  let isDown = true;
  const session = {
    async post(_path: string, body: unknown) {
      if (isDown) throw new Error("down");
      sent.push(body);
    },
  };
  const activity = startActivity({ session, logger, reportEveryMs: 5 });
  activity.note(use("s1", 1));
  activity.note(use("s1", 2));
  isDown = false;
  await eventually(() => expect(sent).toHaveLength(1));
  await activity[Symbol.asyncDispose]();
  expect(sent).toMatchObject([{ seen: [{ sessionId: "s1", grantId: "g" }] }]);
});
