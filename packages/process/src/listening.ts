import { SetupError } from "./setup-error.ts";

/** Says why nothing can listen at `host` and `port`: SetupError E_PORT_BUSY or E_LISTEN. */
export function cannotListen({ host, port }: { host: string; port: number }, cause: unknown): SetupError {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "EADDRINUSE") {
    return new SetupError(
      "E_PORT_BUSY",
      `Port ${port} is busy: another program holds it.`,
      "Stop that program, or set PORT (or HEALTH_PORT, where that is it) to another one; 0 takes any that is free.",
      cause,
    );
  }
  return new SetupError(
    "E_LISTEN",
    `This process may not listen on port ${port} of ${host}: ${cause instanceof Error ? cause.message : String(cause)}.`,
    "Set HOST to an address of this machine (0.0.0.0 for all), and the port to one beyond 1023.",
    cause,
  );
}
