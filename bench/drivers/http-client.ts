/** The lightest honest HTTP client: one keep-alive connection per worker, every answer read to its end and checked. */
import { Pool } from "undici";
import type { HttpRequest } from "../peers/peer.ts";

export interface HttpClient extends AsyncDisposable {
  /** The answer's text. Rejects unless the status is 2xx and the text contains what the request expects. */
  send(request: HttpRequest): Promise<string>;
}

/** `origin`: for example `http://127.0.0.1:40123`. */
export function openHttpClient(origin: string, connections: number): HttpClient {
  const pool = new Pool(origin, { connections, pipelining: 1 });
  return {
    async send({ method, path, headers, body, expect }) {
      const response = await pool.request({ method, path, headers, body: body ?? null });
      const text = await response.body.text();
      if (response.statusCode >= 300 || !text.includes(expect)) {
        throw new Error(`${path} was answered HTTP ${response.statusCode}: ${text.slice(0, 500)}`);
      }
      return text;
    },
    [Symbol.asyncDispose]: () => pool.close(),
  };
}
