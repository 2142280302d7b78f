import { generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { createClientSecret, type Application } from "./application.ts";
import {
  createClientAuthentication,
  type AuthenticatedClient,
  type ClientCredentials,
} from "./client-authentication.ts";
import { ClientKeys } from "./client-keys.ts";

const ISSUER = "https://continuo.test";
const NOW = 1_790_000_000;

const { secret, secretHash } = createClientSecret(randomBytes);
const [today, next, foreign] = [1, 2, 3].map(() => generateKeyPairSync("ec", { namedCurve: "P-256" }));
const edwards = generateKeyPairSync("ed25519");
const jwks = ClientKeys.parse({
  keys: [
    { ...today?.publicKey.export({ format: "jwk" }), kid: "today" },
    { ...next?.publicKey.export({ format: "jwk" }), kid: "next", use: "sig" },
    { ...edwards.publicKey.export({ format: "jwk" }), kid: "edwards" },
  ],
});
const like = (id: string, more: Partial<Application> = {}): Application => ({
  id,
  name: id,
  createdAt: new Date(),
  secretHash: null,
  jwks: null,
  mayIntrospect: false,
  backchannelLogoutUri: null,
  ...more,
});
const known = [like("app"), like("bff", { secretHash }), like("keyed", { jwks }), like("keyed.too", { jwks })];

/** As a process of its own; `asked` is whom it looked for. */
function open(asked: string[] = []): (credentials: ClientCredentials) => Promise<AuthenticatedClient> {
  const used = new Set<string>();
  return createClientAuthentication({
    applications: {
      async find(id) {
        asked.push(id);
        return known.find((each) => each.id === id);
      },
    },
    assertions: {
      async use(id) {
        const name = Buffer.from(id).toString("hex");
        return !used.has(name) && used.add(name).size > 0;
      },
    },
    issuer: ISSUER,
    now: () => new Date(NOW * 1_000),
  });
}
const authenticate = open();

interface Changes {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly key?: Parameters<SignJWT["sign"]>[0] | undefined;
}

/** An assertion of `keyed` that is good but for what the test changes; `undefined` leaves a member out. */
function assert({ header, claims, key = today?.privateKey }: Changes = {}): Promise<string> {
  const good = { iss: "keyed", sub: "keyed", aud: ISSUER, jti: randomUUID(), iat: NOW, exp: NOW + 60, ...claims };
  if (key === undefined) throw new Error("no key");
  return new SignJWT(good)
    .setProtectedHeader({ alg: "ES256", kid: "today", ...header })
    .sign(key, { crit: { "urn:x": true } });
}

const refused = {
  code: "UNAUTHENTICATED",
  reason: "CLIENT_INVALID",
  message: "The client is unknown, or does not authenticate as it is registered.",
};

describe("a client", () => {
  it("is known by its name when it is public, by its secret or its signature when it is confidential", async () => {
    expect(await authenticate({ id: "app" })).toMatchObject({ id: "app", isConfidential: false });
    expect(await authenticate({ id: "bff", secret })).toMatchObject({ id: "bff", isConfidential: true });
    expect(await authenticate({ assertion: await assert() })).toMatchObject({ id: "keyed", isConfidential: true });
  });

  it("is looked up once when it is public, and each time when its secret or keys may have been replaced", async () => {
    const asked: string[] = [];
    const ask = open(asked);
    const each = async (): Promise<ClientCredentials[]> => [
      { id: "app" },
      { id: "bff", secret },
      { assertion: await assert() },
    ];
    for (const credentials of [...(await each()), ...(await each())]) await ask(credentials);
    await expect(ask({ id: "app", secret })).rejects.toMatchObject({ reason: "CLIENT_INVALID" });
    await expect(ask({ id: "keyed" })).rejects.toMatchObject({ reason: "CLIENT_INVALID" });
    await expect(ask({ id: "keyed" })).rejects.toMatchObject({ reason: "CLIENT_INVALID" });
    expect(asked).toEqual(["app", "bff", "keyed", "bff", "keyed", "app", "keyed", "keyed"]);
  });

  it.each<[string, ClientCredentials]>([
    ["is unknown", { id: "nobody" }],
    ["has a name that no application can have", { id: "App\0" }],
    ["keeps its secret back", { id: "bff" }],
    ["shows a wrong one", { id: "bff", secret: `${secret}x` }],
    ["shows one though it is public", { id: "app", secret }],
    ["shows one though it has keys", { id: "keyed", secret }],
    ["signs nothing though it has keys", { id: "keyed" }],
  ])("is refused in the same words when it %s", async (_what, credentials) => {
    await expect(authenticate(credentials)).rejects.toMatchObject(refused);
  });
});

describe("an assertion", () => {
  it.each<[string, Changes]>([
    ["for us among one", { claims: { aud: [ISSUER] } }],
    ["of the explicit type", { header: { typ: "client-authentication+jwt" } }],
    ["by another of its keys", { header: { kid: "next" }, key: next?.privateKey }],
    ["by an Ed25519 key", { header: { kid: "edwards", alg: "Ed25519" }, key: edwards.privateKey }],
    ["by an Ed25519 key, by the older name", { header: { kid: "edwards", alg: "EdDSA" }, key: edwards.privateKey }],
    ["by a clock that is a minute ahead", { claims: { iat: NOW + 60, nbf: NOW + 60, exp: NOW + 120 } }],
    ["by a clock that is nearly two minutes behind", { claims: { iat: NOW - 119, nbf: NOW - 119, exp: NOW - 59 } }],
    ["without a time of making", { claims: { iat: undefined } }],
    ["for five minutes", { claims: { exp: NOW + 300 } }],
  ])("is good %s", async (_what, changes) => {
    expect((await authenticate({ assertion: await assert(changes) })).id).toBe("keyed");
  });

  it("is good once; another client may call its own the same", async () => {
    const jti = randomUUID();
    const assertion = await assert({ claims: { jti } });
    expect((await authenticate({ id: "keyed", assertion })).id).toBe("keyed");
    await expect(authenticate({ assertion })).rejects.toMatchObject(refused);
    const changed = await assert({ claims: { jti, exp: NOW + 61 } });
    await expect(authenticate({ assertion: changed })).rejects.toMatchObject(refused);
    const theirs = await assert({ claims: { jti, iss: "keyed.too", sub: "keyed.too" } });
    expect((await authenticate({ assertion: theirs })).id).toBe("keyed.too");
  });

  it.each<[string, Changes]>([
    ["for nobody", { claims: { aud: undefined } }],
    ["for the token endpoint", { claims: { aud: `${ISSUER}/oauth/token` } }],
    ["for us among others", { claims: { aud: [ISSUER, "https://other.example"] } }],
    ["for whoever begins as we do", { claims: { aud: `${ISSUER}/` } }],
    ["by one client for another", { claims: { iss: "keyed.too" } }],
    ["without an issuer", { claims: { iss: undefined } }],
    ["without a subject", { claims: { sub: undefined } }],
    ["of a client that has a secret", { claims: { iss: "bff", sub: "bff" } }],
    ["of a public client", { claims: { iss: "app", sub: "app" } }],
    ["of nobody", { claims: { iss: "nobody", sub: "nobody" } }],
    ["without an end", { claims: { exp: undefined } }],
    ["whose end is past", { claims: { exp: NOW - 60 } }],
    ["whose end is far", { claims: { exp: NOW + 301 } }],
    ["that is not valid yet", { claims: { nbf: NOW + 61 } }],
    ["that will have been made", { claims: { iat: NOW + 61 } }],
    ["without a name of its own", { claims: { jti: undefined } }],
    ["with an empty name", { claims: { jti: "" } }],
    ["with a long name", { claims: { jti: "x".repeat(129) } }],
    ["that is too long", { claims: { padding: "x".repeat(4_096) } }],
    ["of another type", { header: { typ: "at+jwt" } }],
    ["that is a proof of a key", { header: { typ: "dpop+jwt" } }],
    ["by a foreign key under its key's name", { key: foreign?.privateKey }],
    ["by a key that it does not name", { key: next?.privateKey }],
    ["that names no key where two would fit", { header: { kid: undefined } }],
    ["that names an unknown key", { header: { kid: "tomorrow" } }],
    ["with extensions", { header: { crit: ["urn:x"], "urn:x": 1 } }],
    [
      "by the public key as a secret",
      { header: { alg: "HS256" }, key: new TextEncoder().encode(JSON.stringify(jwks.keys[0])) },
    ],
  ])("is refused %s", async (_what, changes) => {
    const assertion = await assert(changes);
    await expect(authenticate({ assertion })).rejects.toMatchObject(refused);
  });

  it("is refused unsigned, changed, and beside another name", async () => {
    const [, claims = "", signature = ""] = (await assert()).split(".");
    const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
    for (const assertion of ["", "junk", `${none}.${claims}.`, `${none}.${claims}.${signature}`])
      await expect(authenticate({ assertion })).rejects.toMatchObject(refused);
    const [head, , other = ""] = (await assert({ claims: { exp: NOW + 61 } })).split(".");
    await expect(authenticate({ assertion: `${head}.${claims}.${other}` })).rejects.toMatchObject(refused);
    await expect(authenticate({ id: "keyed.too", assertion: await assert() })).rejects.toMatchObject(refused);
  });

  it("is not used up by being refused", async () => {
    const assertion = await assert();
    await expect(authenticate({ id: "keyed.too", assertion })).rejects.toMatchObject(refused);
    expect((await authenticate({ id: "keyed", assertion })).id).toBe("keyed");
  });
});
