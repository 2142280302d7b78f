/**
 * Many people with open sockets, in one process and little memory: bare WebSockets that count what arrives.
 * They sign in with grants signed here, in identity's place, so that a thousand sign-ins do not cost a thousand
 * password hashes.
 */
import { createGrantSigner } from "@continuo/access";
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { ask } from "./graph-client.ts";
import { START_SESSION, STATE_CHANGES } from "./operations.ts";
import type { System } from "./system.ts";

/** One session, with two sockets at each gateway, like two tabs. */
export interface Member {
  readonly userId: string;
  readonly deviceId: string;
  readonly sessionId: string;
  readonly applicationId: string;
  readonly accessToken: string;
  readonly sockets: readonly CountingSocket[];
}

export interface SocketEnd {
  readonly code: number;
  readonly reason: string;
  /** Milliseconds since 1970, with fractions. */
  readonly at: number;
}

/** A socket that watches the state and remembers how it was closed. */
export interface CountingSocket {
  /** How the socket ended, once it has. */
  readonly end: SocketEnd | undefined;
  readonly ended: Promise<SocketEnd>;
  /** Reasons of the errors that ended its operation. */
  readonly lastWords: readonly string[];
  /** How many batches of state arrived. */
  readonly batches: number;
  /** Characters received after those errors. */
  readonly charactersAfter: number;
  close(): void;
}

const PATIENCE = 20;
const SIGN_INS_AT_ONCE = 16;
const Frame = z.object({ type: z.string(), payload: z.unknown().optional() });
const Errors = z.array(z.object({ extensions: z.object({ code: z.string(), reason: z.string() }) }));

export interface Crowd extends AsyncDisposable {
  readonly members: readonly Member[];
  of(applicationId: string): Member[];
  /** How many sockets are open. */
  readonly open: number;
}

/** `people` of each application with `devices` each, all signed in and watching. */
export async function gather(
  system: System,
  parts: readonly { applicationId: string; people: number; devices: number }[],
): Promise<Crowd> {
  const grants = createGrantSigner(system.keys.grant.privateJwk);
  const wanted = parts.flatMap(({ applicationId, people, devices }) =>
    Array.from({ length: people }, () => randomUUID()).flatMap((userId) =>
      Array.from({ length: devices }, () => ({ applicationId, userId })),
    ),
  );

  async function signIn({ applicationId, userId }: (typeof wanted)[number], index: number): Promise<Member> {
    const now = new Date();
    const grant = await grants.sign(
      { jti: randomUUID(), sub: userId, acr: "aal1", amr: ["pwd"], auth_time: Math.floor(now.getTime() / 1_000) },
      now,
    );
    const input = { grant, applicationId, device: { name: "One of many", platform: "OTHER" } };
    const gateway = system.urls[index % system.urls.length] ?? system.urls[0];
    const { startSession } = await ask(gateway, START_SESSION, { input });
    const { accessToken, session } = startSession;
    const sockets = await Promise.all([...system.urls, ...system.urls].map((url) => watch(url, accessToken)));
    return { userId, applicationId, accessToken, sessionId: session.id, deviceId: session.device.id, sockets };
  }

  const members: Member[] = [];
  for (let from = 0; from < wanted.length; from += SIGN_INS_AT_ONCE) {
    const some = wanted.slice(from, from + SIGN_INS_AT_ONCE);
    members.push(...(await Promise.all(some.map((each, index) => signIn(each, from + index)))));
  }
  const sockets = members.flatMap((member) => member.sockets);
  return {
    members,
    of: (applicationId) => members.filter((member) => member.applicationId === applicationId),
    get open() {
      return sockets.filter(({ end }) => end === undefined).length;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.close();
      await Promise.all(sockets.map(({ ended }) => ended));
    },
  };
}

/** Opens a socket; resolves once the first batch has arrived. A gateway on a busy machine may refuse at first. */
async function watch(gateway: string, accessToken: string): Promise<CountingSocket> {
  for (let tries = 1; ; tries += 1) {
    const socket = open(gateway, accessToken);
    const end = await Promise.race([socket.begun, socket.ended]);
    if (end === undefined) return socket;
    if (tries === PATIENCE) {
      throw new Error(`a socket ended before its first batch: ${end.code} ${end.reason} ${socket.lastWords.join()}`);
    }
    await delay(500);
  }
}

function open(gateway: string, accessToken: string): CountingSocket & { readonly begun: Promise<void> } {
  const socket = new WebSocket(`${gateway.replace(/^http/, "ws")}/graphql`, "graphql-transport-ws");
  const ended = Promise.withResolvers<SocketEnd>();
  const begun = Promise.withResolvers<void>();
  let end: SocketEnd | undefined;
  let lastWords: string[] = [];
  let batches = 0;
  let charactersAfter = 0;
  const send = (message: object): void => socket.send(JSON.stringify(message));

  socket.addEventListener("open", () =>
    send({ type: "connection_init", payload: { authorization: `Bearer ${accessToken}` } }),
  );
  socket.addEventListener("message", ({ data }) => {
    const text = String(data);
    if (lastWords.length > 0) charactersAfter += text.length;
    const { type, payload } = Frame.parse(JSON.parse(text));
    if (type === "connection_ack") send({ id: "state", type: "subscribe", payload: { query: STATE_CHANGES.text } });
    if (type === "ping") send({ type: "pong" });
    if (type === "next") batches += 1;
    if (type === "error") lastWords = Errors.parse(payload).map(({ extensions }) => extensions.reason);
    if (type === "next") begun.resolve();
    if (type === "error" && batches === 0) socket.close();
  });
  socket.addEventListener("close", ({ code, reason }) => {
    end = { code, reason, at: performance.timeOrigin + performance.now() };
    ended.resolve(end);
  });
  return {
    begun: begun.promise,
    get end() {
      return end;
    },
    ended: ended.promise,
    get lastWords() {
      return lastWords;
    },
    get batches() {
      return batches;
    },
    get charactersAfter() {
      return charactersAfter;
    },
    close: () => socket.close(),
  };
}
