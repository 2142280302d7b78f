/** What BullMQ needs from a datastore: a backend for queues, one for workers, and what to close in the end. */
import type { BackendFactory, ConnectionOptions } from "bullmq";

export interface BackendSide {
  readonly factory: BackendFactory;
  /** Only the Redis factory reads it, but BullMQ wants one. */
  readonly connection: ConnectionOptions;
}

export interface WorkerSide extends BackendSide {
  /** How long a worker waits for a first job before it looks for itself. Seconds. */
  readonly drainDelay: number;
}

export interface JobsBackend extends AsyncDisposable {
  readonly queue: BackendSide;
  readonly worker: WorkerSide;
  /** Runs `work` while no other process of the installation runs work of that `name`. */
  alone(name: string, work: () => Promise<void>): Promise<void>;
}
