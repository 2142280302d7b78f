/** The parameters of a request (GraphQL over HTTP, section 5), from its body or its URL. */
import { AppError } from "@continuo/errors";
import { z } from "zod";

const Values = z.record(z.string(), z.unknown());
const Body = z.object({
  query: z.string().default(""),
  documentId: z.string().optional(),
  operationName: z.string().nullish(),
  variables: Values.nullish(),
  extensions: Values.nullish(),
});
/** In a URL, `variables` and `extensions` are JSON text. */
const ValuesText = z
  .string()
  .transform((text, context) => {
    try {
      return Values.parse(JSON.parse(text));
    } catch {
      context.addIssue("not a JSON object");
      return z.NEVER;
    }
  })
  .optional();
const Url = Body.extend({ variables: ValuesText, extensions: ValuesText });

/** What a request asks for: a document (`query`), or a reference to one. */
export type Parameters = z.output<typeof Body>;

/** Reads the parameters from a parsed JSON body. Throws BAD_USER_INPUT/REQUEST_INVALID. */
export function readBody(body: unknown): Parameters {
  return read(Body, body);
}

/** Reads the parameters from a parsed query string. Throws BAD_USER_INPUT/REQUEST_INVALID. */
export function readUrl(search: unknown): Parameters {
  return read(Url, search);
}

function read(Shape: z.ZodType<Parameters>, given: unknown): Parameters {
  const { success, data } = Shape.safeParse(given);
  if (success && (data.query !== "" || data.documentId !== undefined || data.extensions != null)) return data;
  throw new AppError(
    "BAD_USER_INPUT",
    "REQUEST_INVALID",
    "The request must have a query, and variables that are an object.",
  );
}
