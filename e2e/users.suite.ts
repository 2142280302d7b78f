/** What happens to a person's devices and state when an operator disables, enables and deletes their user. */
import { runOperator } from "@continuo/identity/operator";
import { randomUUID } from "node:crypto";
import { PassThrough } from "node:stream";
import { Client } from "pg";
import { expect, test } from "vitest";
import { createDevice, signUp } from "./device.ts";
import { eventually, refusal } from "./graph-client.ts";
import { CHANGE_PASSWORD_AND_SIGN_OUT_OTHERS, STATE_CHANGES } from "./operations.ts";
import type { System } from "./system.ts";

/** How many sockets each gateway closed when disabling a user ended their sessions, by e-mail address. */
const CLOSED = `
SELECT a.replica, a.sockets_closed AS closed
  FROM session.revocation_acks AS a JOIN session.revocations AS r USING (seq) JOIN identity.users AS u ON u.id = r.user_id
 WHERE u.email = $1 AND r.reason = 'USER_DISABLED'`;

/** Registers the tests for a system that is running by the time they run; `adminUrl` is its database. */
export function describeUsers(running: () => { readonly system: System; readonly adminUrl: string }): void {
  test("a new password can end the other sessions in the same request, and is the only one from then on", async () => {
    const { system } = running();
    const [gateway] = system.urls;
    const person = await signUp(gateway);
    const phone = createDevice({ gateway, name: "Phone", platform: "PHONE" });
    const laptop = createDevice({ gateway: system.urls.at(-1) ?? gateway, name: "Laptop", platform: "LAPTOP" });
    for (const device of [phone, laptop]) await device.signIn(person);
    const lost = phone.goLive();
    await lost.watch(STATE_CHANGES).until("the first batch", () => true);
    const changed = { ...person, password: "one that nobody has thought of" };
    const change = (currentPassword: string): Promise<unknown> => {
      const input = { currentPassword, newPassword: changed.password };
      return laptop.ask(CHANGE_PASSWORD_AND_SIGN_OUT_OTHERS, { input });
    };

    expect(await change(person.password)).toMatchObject({
      changePassword: { user: { email: person.email } },
      signOutOtherDevices: { receipt: { sessionsEnded: 1 } },
    });
    expect(await lost.closed).toMatchObject({ code: 4403, reason: "SESSION_ENDED: SIGNED_OUT_REMOTELY" });
    await laptop.refresh();
    expect(await refusal(change(person.password))).toMatchObject({ reason: "CURRENT_PASSWORD_WRONG" });
    expect(await refusal(phone.signIn(person))).toMatchObject({ reason: "CREDENTIALS_INVALID" });
    await phone.signIn(changed);
  });

  test("who is disabled is out everywhere and comes back to their state; who is deleted leaves none", async () => {
    const { system, adminUrl } = running();
    const [gateway] = system.urls;
    const elsewhere = system.urls.at(-1) ?? gateway;
    const client = new Client({ connectionString: adminUrl });
    await client.connect();
    await using _ = { [Symbol.asyncDispose]: () => client.end() };
    const users = async (verb: string): Promise<number> => {
      const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
      const source = async () => system.environments.identity;
      return runOperator(["users", verb, "--user", person.email, "--yes", "--json"], { source, streams });
    };
    const person = await signUp(gateway);
    const phone = createDevice({ gateway, name: "Phone", platform: "PHONE" });
    const laptop = createDevice({ gateway: elsewhere, name: "Laptop", platform: "LAPTOP" });
    for (const device of [phone, laptop]) await device.signIn(person);
    const key = randomUUID();
    await phone.pull();
    phone.change(`notes/${key}/body`, "mine");
    await phone.push();
    const lives = [phone, laptop].map((device) => device.goLive());
    for (const live of lives) await live.watch(STATE_CHANGES).until("the first batch", () => true);

    expect(await users("disable")).toBe(0);
    for (const live of lives)
      expect(await live.closed).toMatchObject({ code: 4403, reason: "SESSION_ENDED: USER_DISABLED" });
    const { rows } = await eventually(
      "each gateway's word that it closed its own",
      () => client.query(CLOSED, [person.email]),
      ({ rowCount }) => rowCount === system.urls.length,
    );
    expect(rows.map(({ closed }) => closed)).toEqual(system.urls.map(() => 2 / system.urls.length));
    for (const device of [phone, laptop]) {
      expect(await refusal(device.refresh())).toMatchObject({ reason: "SESSION_ENDED" });
      expect(await refusal(device.signIn(person))).toMatchObject({ reason: "CREDENTIALS_INVALID" });
    }

    expect(await users("enable")).toBe(0);
    await laptop.signIn(person);
    await laptop.pull();
    expect(laptop.state.get(`notes/${key}/body`)).toBe("mine");

    await using last = laptop.goLive();
    await last.watch(STATE_CHANGES).until("the first batch", () => true);
    expect(await users("delete")).toBe(0);
    expect(await last.closed).toMatchObject({ code: 4403, reason: "SESSION_ENDED: USER_DELETED" });
    expect(await refusal(laptop.signIn(person))).toMatchObject({ reason: "CREDENTIALS_INVALID" });
    await eventually(
      "nothing of their state",
      async () => (await client.query("SELECT FROM user_state.state_entries WHERE key = $1", [key])).rowCount,
      (count) => count === 0,
    );
  });
}
