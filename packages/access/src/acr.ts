/** Authentication context classes: how certain it is that users are who they say they are. */
import { z } from "zod";

/** In ascending order (NIST SP 800-63B-4 section 2). */
export const ACR_ORDER = ["aal1", "aal2", "aal3"] as const;
export const Acr = z.enum(ACR_ORDER);
export type Acr = z.infer<typeof Acr>;

/** Whether `acr` is at least `required`; a class that is not one of ours satisfies only itself. */
export function acrSuffices(acr: string, required: string | null): boolean {
  if (required === null || acr === required) return true;
  const place = (level: string): number => ACR_ORDER.findIndex((each) => each === level);
  return place(required) >= 0 && place(acr) > place(required);
}
