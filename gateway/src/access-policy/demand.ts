/** What somebody must have shown of themselves to be answered. */
import { ACR_ORDER, type Acr } from "@continuo/access";

/** Scopes, all of them. */
type Scopes = readonly string[];

/** Of one field, or of all that an operation selects. */
export interface Demand {
  /** Each is a choice: one of its alternatives is to be there. */
  readonly scopes: readonly (readonly Scopes[])[];
  /** The weakest authentication context class. */
  readonly acr: Acr | undefined;
  /** How long ago somebody may have signed in. Seconds. */
  readonly maxAge: number | undefined;
  /** Signed in as recently as the application's policy asks for what is sensitive. */
  readonly isRecent: boolean;
}

/** Being signed in, by whatever token. */
export const SIGNED_IN: Demand = { scopes: [], acr: undefined, maxAge: undefined, isRecent: false };

/** All of them at once; undefined when there are none. */
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
