/** Whether two http URIs are the same apart from query and fragment, normalised as RFC 3986 sections 6.2.2 and 6.2.3 say. */
export function sameUri(given: string, expected: string): boolean {
  return given === expected || (URL.canParse(given) && normalise(given) === normalise(expected));
}

function normalise(text: string): string {
  // URL normalises the case of scheme and host, the default port, the empty path and dot segments, but not
  // percent-encodings.
  const { protocol, username, password, host, pathname } = new URL(text);
  const path = pathname.replaceAll(/%[\dA-Fa-f]{2}/g, (encoded) => {
    const character = String.fromCharCode(Number.parseInt(encoded.slice(1), 16));
    return /[\w.~-]/.test(character) ? character : encoded.toUpperCase();
  });
  return JSON.stringify([protocol, username, password, host, path]);
}
