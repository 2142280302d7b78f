/** Passes on the first of a burst and drops the rest: a dependency that is down for an hour logs few lines, not thousands. */
export function throttle<Value>(tell: (value: Value) => void, quietMs = 5_000): (value: Value) => void {
  let quietUntil = 0;
  return (value) => {
    const now = performance.now();
    if (now < quietUntil) return;
    quietUntil = now + quietMs;
    tell(value);
  };
}
