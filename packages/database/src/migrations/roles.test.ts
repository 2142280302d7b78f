import { expect, it } from "vitest";
import { roleUrl, scramVerifier } from "./roles.ts";

it("a verifier is what RFC 7677's example stores for the password pencil", () => {
  // The RFC gives the signatures; these keys follow from them, and are what Postgres computes for this salt.
  const verifier = scramVerifier("pencil", Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"));
  expect(verifier).toBe(
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
  );
});

it("a role's URL keeps host, database and parameters, and escapes the password", () => {
  expect(roleUrl("postgresql://admin:x@db:5433/app?sslmode=require", "continuo_session", "p@ss/word%")).toBe(
    "postgresql://continuo_session:p%40ss%2Fword%25@db:5433/app?sslmode=require",
  );
});
