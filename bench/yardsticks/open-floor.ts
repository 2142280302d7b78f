import { randomBytes } from "node:crypto";
import { z } from "zod";
import { startChild } from "../child.ts";
import type { Subject } from "../subject.ts";
import { floorRefreshToken } from "./floor-tokens.ts";

export interface Floor {
  readonly url: string;
  readonly pid: number;
  /** One of the floor's own refresh tokens, for a grant. */
  refreshToken(grantId: string, generation: number): string;
}

/** Starts the floor on the same database, with the key set that verifies our access tokens. */
export async function openFloor(subject: Subject, stack: AsyncDisposableStack): Promise<Floor> {
  const refreshKey = randomBytes(32).toString("base64url");
  const keySet = await (await fetch(subject.keySetUrl)).text();
  const settings = { databaseUrl: subject.databaseUrl, keySet, refreshKey };
  const { ready, pid } = stack.use(await startChild(new URL("floor.ts", import.meta.url), settings, z.string()));
  return { url: ready, pid, refreshToken: (grantId, generation) => floorRefreshToken(refreshKey, grantId, generation) };
}
