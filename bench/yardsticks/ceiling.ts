/** The ceiling: node:http that reads a request and answers with the very bytes that our gateway answered, without any work. */
import { z } from "zod";
import { serveParent } from "../child.ts";
import { openHttpServer } from "./http.ts";

const Settings = z.object({ answer: z.string() });

serveParent(async (settings) => {
  const { answer } = Settings.parse(settings);
  const server = await openHttpServer(() => answer);
  return { ready: server.url, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
});
