/** What a request is called in answers and logs: its own id for whoever gives one, a random one else. */
import { REQUEST_ID_HEADER } from "@continuo/access";
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";

const REQUEST_ID = /^[\w-]{1,64}$/;

/** The id that a client gave with its request, where that is one; else a new one each time. */
export function newRequestId({ headers }: Pick<IncomingMessage, "headers">): string {
  const given = headers[REQUEST_ID_HEADER];
  return typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID();
}

const upgrades = new WeakMap<IncomingMessage, string>();

/** The id of a request that becomes a socket, or does not: the same however often it is asked for. */
export function upgradeIdOf(request: IncomingMessage): string {
  const id = upgrades.get(request) ?? newRequestId(request);
  upgrades.set(request, id);
  return id;
}
