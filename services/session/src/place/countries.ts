import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Reader, type Response } from "mmdb-lib";
import { z } from "zod";
import type { PlaceOf } from "./place.ts";

const Block = z.object({ country_code: z.string() });

/** Maps address blocks to the countries that the registries allocated them to (CC0 data); about 8 MB, read once. */
export function openPlaces(): PlaceOf {
  const file = import.meta.resolve("@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb");
  const reader = new Reader<Response>(readFileSync(fileURLToPath(file)));
  return (ipPrefix) => {
    if (ipPrefix === undefined) return { ipPrefix: null, country: null };
    const [address = ""] = ipPrefix.split("/");
    return { ipPrefix, country: Block.safeParse(reader.get(address)).data?.country_code ?? null };
  };
}
