/** The id of a request in answers and logs: the client's own if it sends a valid one, otherwise a random one. */
import { REQUEST_ID_HEADER } from "@continuo/access";
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";

const REQUEST_ID = /^[\w-]{1,64}$/;

/** The request id that the client sent, if it is valid; otherwise a new one at each call. */
export function newRequestId({ headers }: Pick<IncomingMessage, "headers">): string {
  const given = headers[REQUEST_ID_HEADER];
  return typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID();
}

const upgrades = new WeakMap<IncomingMessage, string>();

/** The id of an upgrade request, accepted or not: the same at every call. */
export function upgradeIdOf(request: IncomingMessage): string {
  const id = upgrades.get(request) ?? newRequestId(request);
  upgrades.set(request, id);
  return id;
}
