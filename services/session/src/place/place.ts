/**
 * Where a session was last used from, only as precisely as a person needs to recognise it. The full address never gets
 * here.
 */

export interface Place {
  /** `192.0.2.0/24` or `2001:db8:1::/48`; null when unknown. */
  readonly ipPrefix: string | null;
  /** ISO 3166-1 alpha-2, the country that the registries allocated the addresses to; null when unknown. */
  readonly country: string | null;
}

/** The place of a prefix; without a prefix, both are null. */
export type PlaceOf = (ipPrefix: string | undefined) => Place;
