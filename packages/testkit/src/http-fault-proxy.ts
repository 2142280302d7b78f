/** An HTTP proxy that loses, delays and repeats whole requests and answers, as a network between client and service does. */
import { once } from "node:events";
import { Agent, createServer, request as send, type IncomingHttpHeaders } from "node:http";
import { buffer } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";

/**
 * What happens to a request. LOSE_REQUEST: it never arrives. LOSE_ANSWER: it arrives, but the client never gets the
 * answer. Both break the connection; HALF_OPEN loses the request and leaves the connection open. LATE: a delay before
 * it arrives, and another before the answer does. DOUBLE: it arrives twice at once, and the first answer counts.
 */
export type HttpFault = "NONE" | "LOSE_REQUEST" | "LOSE_ANSWER" | "HALF_OPEN" | "LATE" | "DOUBLE";

export interface HttpFaultProxy extends AsyncDisposable {
  /** Its own base, for example `http://127.0.0.1:40123`. */
  readonly url: string;
  /** How often each fault occurred. */
  readonly counts: Readonly<Record<HttpFault, number>>;
}

/**
 * Forwards requests to `targets` (base URLs of services) in turn. `faultOf` picks the fault for the next request,
 * `lateMs` the length of a delay; `overheard` gets each exchange that a service answered, even if the answer is then
 * lost. A target that does not answer breaks the connection.
 */
export async function startHttpFaultProxy(options: {
  targets: readonly [string, ...string[]];
  faultOf: () => HttpFault;
  lateMs?: () => number;
  overheard?: (request: string, answer: string) => void;
}): Promise<HttpFaultProxy> {
  const { targets, faultOf, lateMs = () => 100, overheard = () => undefined } = options;
  const counts = { NONE: 0, LOSE_REQUEST: 0, LOSE_ANSWER: 0, HALF_OPEN: 0, LATE: 0, DOUBLE: 0 };
  const agent = new Agent({ keepAlive: true });
  let turn = 0;

  async function pass(asked: Asked): Promise<Answer> {
    turn += 1;
    const answer = await exchange(agent, targets[turn % targets.length] ?? targets[0], asked);
    overheard(asked.body.toString(), answer.body.toString());
    return answer;
  }

  async function answerTo(asked: Asked): Promise<Answer | "NOTHING" | "SILENCE"> {
    const fault = faultOf();
    counts[fault] += 1;
    if (fault === "LOSE_REQUEST") return "NOTHING";
    if (fault === "HALF_OPEN") return "SILENCE";
    if (fault === "DOUBLE") return Promise.any([pass(asked), pass(asked)]);
    if (fault === "LATE") await delay(lateMs());
    const answer = await pass(asked);
    if (fault === "LATE") await delay(lateMs());
    return fault === "LOSE_ANSWER" ? "NOTHING" : answer;
  }

  const server = createServer((incoming, outgoing) => {
    void (async () => {
      const { method = "GET", url: path = "/", headers } = incoming;
      const answer = await answerTo({ method, path, headers, body: await buffer(incoming) });
      if (answer === "NOTHING") incoming.socket.destroy();
      else if (answer !== "SILENCE")
        outgoing.writeHead(answer.status, { "content-type": answer.type }).end(answer.body);
    })().catch(() => incoming.socket.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port was given");

  return {
    url: `http://127.0.0.1:${address.port}`,
    counts,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      agent.destroy();
      await once(server, "close");
    },
  };
}

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: Buffer;
}

async function exchange(agent: Agent, target: string, { method, path, headers, body }: Asked): Promise<Answer> {
  const { connection: _, host: __, "content-length": ___, "transfer-encoding": ____, ...kept } = headers;
  const outgoing = send(new URL(path, target), { agent, method, headers: { ...kept, "content-length": body.length } });
  outgoing.end(body);
  const [incoming] = await once(outgoing, "response");
  return {
    status: incoming.statusCode,
    type: incoming.headers["content-type"] ?? "text/plain",
    body: await buffer(incoming),
  };
}
