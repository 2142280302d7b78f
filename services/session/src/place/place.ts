/** Where a session was last used from, as coarsely as anybody needs to recognise it. The whole address never gets here. */

export interface Place {
  /** `192.0.2.0/24` or `2001:db8:1::/48`; null where that is not known. */
  readonly ipPrefix: string | null;
  /** ISO 3166-1 alpha-2, as the registries gave the addresses out; null where that is not known. */
  readonly country: string | null;
}

/** The place of a prefix. Anything that is no prefix is nowhere. */
export type PlaceOf = (ipPrefix: string | undefined) => Place;
