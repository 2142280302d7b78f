/** What an operator does with applications. A secret is shown once, when it is made, and can be replaced, not read. */
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { ApplicationId, createClientSecret, type Application, type ApplicationStore } from "./application.ts";

/** Where an application hears of its ended sessions: https, or a loopback address for trying it out. */
export const LogoutUri = z.string().refine((text) => {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, hash } = new URL(text);
  const isHere = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
  return hash === "" && (protocol === "https:" || (protocol === "http:" && isHere));
}, "must be an https address without a fragment (OpenID Connect Back-Channel Logout 1.0 section 2.2)");

/** An application as an operator describes it. */
export const ApplicationInput = z
  .object({
    id: ApplicationId,
    name: z.string().trim().min(1).max(128),
    isConfidential: z.boolean(),
    mayIntrospect: z.boolean(),
    backchannelLogoutUri: LogoutUri.nullable(),
  })
  .refine(({ isConfidential, mayIntrospect }) => isConfidential || !mayIntrospect, {
    path: ["mayIntrospect"],
    error: "only a confidential application may introspect",
  });
export type ApplicationInput = z.infer<typeof ApplicationInput>;

/** An application as an operator sees it. */
export interface ApplicationSummary extends ApplicationInput {
  readonly createdAt: Date;
}

export interface Applications {
  list(): Promise<ApplicationSummary[]>;
  /**
   * Registers one, and returns the secret of a confidential one. Nobody can sign in to it before a policy of it is
   * active. Throws CONFLICT/APPLICATION_EXISTS.
   */
  add(input: ApplicationInput): Promise<{ application: ApplicationSummary; secret: string | null }>;
  /** The former secret is refused from now on. Throws NOT_FOUND/APPLICATION_NOT_FOUND, CONFLICT/APPLICATION_PUBLIC. */
  rotateSecret(id: string): Promise<string>;
  /** Null for none. Throws NOT_FOUND/APPLICATION_NOT_FOUND. */
  setLogoutUri(id: string, uri: string | null): Promise<void>;
}

/** Wires the use cases. */
export function createApplications(options: {
  store: ApplicationStore;
  randomBytes: (count: number) => Buffer;
  now: () => Date;
}): Applications {
  const { store, randomBytes, now } = options;

  return {
    list: async () => (await store.list()).map((application) => summaryOf(application)),

    async add({ isConfidential, ...input }) {
      const made = isConfidential ? createClientSecret(randomBytes) : undefined;
      const application = { ...input, createdAt: now(), secretHash: made?.secretHash ?? null };
      if (!(await store.add(application)))
        throw new AppError("CONFLICT", "APPLICATION_EXISTS", "There is an application with this id already.");
      return { application: summaryOf(application), secret: made?.secret ?? null };
    },

    async rotateSecret(id) {
      const { secret, secretHash } = createClientSecret(randomBytes);
      if (await store.replaceSecretHash(id, secretHash)) return secret;
      if ((await store.find(id)) === undefined) throw notFound();
      throw new AppError("CONFLICT", "APPLICATION_PUBLIC", "A public application has no secret to replace.");
    },

    async setLogoutUri(id, uri) {
      if (!(await store.setLogoutUri(id, uri))) throw notFound();
    },
  };
}

function summaryOf({ secretHash, ...application }: Application): ApplicationSummary {
  return { ...application, isConfidential: secretHash !== null };
}

function notFound(): AppError {
  return new AppError("NOT_FOUND", "APPLICATION_NOT_FOUND", "There is no such application.");
}
