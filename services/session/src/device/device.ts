/**
 * A device: something a person signs in on, one row for its life.
 * Whether somebody is signed in on it follows from its sessions; the row does not store it.
 */
import { AppError } from "@continuo/errors";
import { z } from "zod";
import type { Session } from "../session/session.ts";

export const Platform = z.enum(["PHONE", "TABLET", "LAPTOP", "DESKTOP", "TV", "WATCH", "OTHER"]);
export type Platform = z.infer<typeof Platform>;

/** A row of `devices`, and whether one of its sessions is live. */
export const Device = z.object({
  id: z.uuid(),
  userId: z.uuid(),
  name: z.string().nullable(),
  detectedName: z.string(),
  platform: Platform,
  firstSeenAt: z.date(),
  lastSeenAt: z.date(),
  rev: z.coerce.number(),
  isSignedIn: z.boolean(),
});
export type Device = z.infer<typeof Device>;

/** A name as people give it: 1 to 64 characters, NFC, trimmed, without control characters. */
export const DeviceName = z
  .string()
  .transform((text) => text.normalize("NFC").trim())
  .pipe(
    z
      .string()
      .refine((text) => text.length > 0 && Array.from(text).length <= 64, "must have 1 to 64 characters")
      .refine((text) => !/\p{Cc}/u.test(text), "must not contain control characters"),
  );

/** A device as it introduces itself at sign-in. */
export const DeviceInput = z.object({
  id: z.uuid().nullish(),
  name: DeviceName,
  platform: Platform,
});
export type DeviceInput = z.infer<typeof DeviceInput>;

export interface DevicePage {
  readonly totalCount: number;
  readonly hasNextPage: boolean;
  /**
   * Each with its live sessions, as SessionStore returns them: clients that list devices nearly always read those too.
   */
  readonly devices: readonly (Device & { readonly liveSessions: Session[] })[];
}

/** The acting session and its user. */
export interface OwnSession {
  readonly id: string;
  readonly userId: string;
}

export interface DeviceStore {
  /** In the order of `ids`, undefined where there is none. */
  byIds(ids: readonly string[], now: Date): Promise<(Device | undefined)[]>;
  /** The user's devices, `currentId` first, then by last use, starting after `after`. */
  page(
    userId: string,
    currentId: string,
    range: { first: number; after: DeviceCursor | null },
    now: Date,
  ): Promise<DevicePage>;
  /**
   * The user's devices with a revision above `since`, by revision. Devices of one revision stay together, so there may
   * be more than `first`.
   */
  changes(
    userId: string,
    since: number,
    first: number,
    now: Date,
  ): Promise<{ head: number; hasMore: boolean; devices: Device[] }>;
  /** Undefined when it is not the user's. */
  rename(session: OwnSession, deviceId: string, name: string, now: Date): Promise<Device | undefined>;
}

/** A place in the order of `page`: after the current device, or after the one with this last use and id. */
export type DeviceCursor = "CURRENT" | { readonly lastSeenAt: Date; readonly id: string };

const CURSOR_TEXT = /^(\d{1,15})\.([\da-f-]{36})$/;

/** The cursor of a device in a page, opaque to clients. */
export function encodeCursor(device: Device, currentId: string): string {
  const text = device.id === currentId ? "current" : `${device.lastSeenAt.getTime()}.${device.id}`;
  return Buffer.from(text).toString("base64url");
}

/** Throws BAD_USER_INPUT/CURSOR_INVALID. */
export function decodeCursor(cursor: string): DeviceCursor {
  const text = Buffer.from(cursor, "base64url").toString();
  if (text === "current") return "CURRENT";
  const [, at, id] = CURSOR_TEXT.exec(text) ?? [];
  if (at === undefined || !z.uuid().safeParse(id).success || id === undefined) throw invalidCursor();
  return { lastSeenAt: new Date(Number(at)), id };
}

/** The devices that changed after `from`, up to `to`. Batches chain: the next one's `from` is this one's `to`. */
export interface DeviceChanges {
  readonly from: string | null;
  readonly to: string;
  readonly hasMore: boolean;
  readonly devices: readonly Device[];
}

/** What a viewer may do with devices; `userId` or `session` is always the viewer's. */
export interface Devices {
  /** Throws NOT_FOUND/DEVICE_NOT_FOUND, also for another user's. */
  rename(session: OwnSession, deviceId: string, name: string): Promise<Device>;
  /** Throws BAD_USER_INPUT/CURSOR_INVALID for a cursor that this change log did not issue. */
  changes(userId: string, since: string | null, first: number): Promise<DeviceChanges>;
}

/** Wires the use cases. */
export function createDevices(options: {
  store: DeviceStore;
  announce: { devicesChanged(userId: string, deviceRev: number): Promise<void> };
  now: () => Date;
}): Devices {
  const { store, announce, now } = options;
  return {
    async rename(session, deviceId, name) {
      const device = await store.rename(session, deviceId, name, now());
      if (device === undefined) throw deviceNotFound();
      await announce.devicesChanged(session.userId, device.rev);
      return device;
    },

    async changes(userId, since, first) {
      const from = since === null ? 0 : Number(/^\d{1,15}$/.exec(since)?.[0] ?? Number.NaN);
      if (Number.isNaN(from)) throw invalidCursor();
      const { head, hasMore, devices } = await store.changes(userId, from, first, now());
      // A cursor ahead of the log: the database was restored to an earlier state.
      if (from > head) throw invalidCursor();
      return { from: since, to: String(devices.at(-1)?.rev ?? from), hasMore, devices };
    },
  };
}

/** NOT_FOUND/DEVICE_NOT_FOUND: absent, or not yours. */
export function deviceNotFound(): AppError {
  return new AppError("NOT_FOUND", "DEVICE_NOT_FOUND", "You have no such device.");
}

function invalidCursor(): AppError {
  return new AppError("BAD_USER_INPUT", "CURSOR_INVALID", "The cursor is not valid: start without one.");
}
