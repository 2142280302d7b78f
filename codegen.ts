import type { CodegenConfig } from "@graphql-codegen/cli";

/** GraphQL types a resolver returns as one of our own types: `Type: "file below src#Exported"`. */
const MAPPERS: Record<string, Record<string, string>> = {
  identity: { User: "user/user.ts#User" },
  session: {
    Device: "device/device.ts#Device",
    DeviceChanges: "device/device.ts#DeviceChanges",
    DeviceSignOut: "device/sign-out.ts#DeviceSignOut",
    Policy: "policy/policy.ts#Policy",
    RevocationReceipt: "revocation/revocation.ts#RevocationReceipt",
    Session: "session/session.ts#Session",
    SecurityEvent: "audit/security-event.ts#SecurityEvent",
    SessionTokens: "token/rotation.ts#SessionTokens",
    Viewer: "session/session.ts#Session",
  },
  "user-state": {
    Namespace: "namespace/namespace.ts#Namespace",
    FirstAnswer: "entry/settle.ts#Answer",
    OpOutcome: "entry/settle.ts#Outcome",
    PushStatePayload: "entry/entry.ts#PushReceipt",
    StateEntry: "stream/stream.ts#StateEntry",
    RelayedChange: "relay/relay.ts#RelayedChange",
    StateWrite: "history/history.ts#StateWrite",
    StateBatch: "stream/stream.ts#StateBatch",
    Activity: "activity/activity.ts#ActivityView",
    ActivityChanges: "activity/activity.ts#ActivityChanges",
    ResumeItem: "activity/resume.ts#ResumeItem",
    ResumePoint: "activity/resume.ts#ResumePoint",
    ErasureReceipt: "erasure/erasure.ts#ErasureReceipt",
    TakeOverPayload: "activity/take-over.ts#TakeOver",
    Device: "sync-status/sync-status.ts#DeviceReference",
    User: "stream/stream.ts#UserReference",
  },
};

/** Typed resolvers for each subgraph, from its own `.graphql` files only. */
const config: CodegenConfig = {
  silent: true,
  generates: Object.fromEntries(
    Object.entries(MAPPERS).map(([service, mappers]) => [
      `services/${service}/src/generated/graphql.ts`,
      {
        schema: `services/${service}/src/**/*.graphql`,
        plugins: ["typescript", "typescript-resolvers"],
        config: {
          federation: true,
          useTypeImports: true,
          enumsAsTypes: true,
          avoidOptionals: { field: true, object: false, inputValue: false, defaultValue: false },
          contextType: "../context.ts#Context",
          mappers: Object.fromEntries(Object.entries(mappers).map(([type, from]) => [type, `../${from}`])),
          mapperTypeSuffix: "Model",
          scalars: {
            ID: "string",
            DateTime: { input: "string", output: "Date" },
            JSON: { input: "unknown", output: "unknown" },
            SafeInt: { input: "number", output: "number" },
          },
        },
      },
    ]),
  ),
};

export default config;
