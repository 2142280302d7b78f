/** What BullMQ needs from a datastore: a backend for queues, one for workers, and how to close both. */
import type { SetupError } from "@continuo/process";
import type { BackendFactory, ConnectionOptions } from "bullmq";

export interface BackendSide {
  readonly factory: BackendFactory;
  /** Only the Redis factory reads it, but BullMQ requires one. */
  readonly connection: ConnectionOptions;
}

export interface WorkerSide extends BackendSide {
  /** How long an idle worker waits for a job before it polls. Seconds. */
  readonly drainDelay: number;
}

export interface JobsBackend extends AsyncDisposable {
  readonly queue: BackendSide;
  readonly worker: WorkerSide;
  /** Why a queue did not answer, for whoever runs the process. */
  readonly unreachable: (cause: unknown) => SetupError;
  /** Runs `work` while no other process of the installation runs work with that `name`. */
  alone(name: string, work: () => Promise<void>): Promise<void>;
}
