export { createReplica, type Queued, type Rejected, type Replica, type Unit } from "./replica.ts";
export { change, shiftClock } from "./queue.ts";
export { forgotten, push, settle } from "./push.ts";
export { pull, receive } from "./pull.ts";
export { show, type Kinds, type Shown } from "./show.ts";
