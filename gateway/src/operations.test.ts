import { GraphQLError } from "graphql";
import { expect, it } from "vitest";
import { toJson } from "./operations.ts";

it("an event's errors have the request id of each who is told of it, though several are told the same", () => {
  const refused = new GraphQLError("Not for you.", { extensions: { code: "FORBIDDEN", reason: "REFUSED" } });
  const event = { data: null, errors: [refused] };
  const idIn = (json: string): unknown => JSON.parse(json)["errors"][0]["extensions"]["requestId"];
  expect(["r1", "r2"].map((requestId) => idIn(toJson(event, requestId)))).toEqual(["r1", "r2"]);
});
