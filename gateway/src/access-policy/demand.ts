/** What a caller's token must show for an operation to run. */
import { ACR_ORDER, type Acr } from "@continuo/access";

/** Scopes that are all required. */
type Scopes = readonly string[];

/** The demand of one field, or of all fields that an operation selects. */
export interface Demand {
  /** Every entry must be met; an entry is met when one of its alternatives is granted. */
  readonly scopes: readonly (readonly Scopes[])[];
  /** The weakest authentication context class that is accepted. */
  readonly acr: Acr | undefined;
  /** The maximum age of the sign-in. Seconds. */
  readonly maxAge: number | undefined;
  /** Requires a sign-in as recent as the application's policy demands for sensitive operations. */
  readonly isRecent: boolean;
}

/** Signed in, with any token. */
export const SIGNED_IN: Demand = { scopes: [], acr: undefined, maxAge: undefined, isRecent: false };

/** Combines demands so that all are met; undefined if there are none. */
export function strictest(demands: Iterable<Demand>): Demand | undefined {
  const all = [...demands];
  if (all.length === 0) return undefined;
  const ages = all.flatMap(({ maxAge }) => maxAge ?? []);
  const choices = new Map(all.flatMap(({ scopes }) => scopes.map((choice) => [JSON.stringify(choice), choice])));
  return {
    scopes: [...choices.values()],
    acr: ACR_ORDER.findLast((acr) => all.some((demand) => demand.acr === acr)),
    maxAge: ages.length > 0 ? Math.min(...ages) : undefined,
    isRecent: all.some(({ isRecent }) => isRecent),
  };
}
