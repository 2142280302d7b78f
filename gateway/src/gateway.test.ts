import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AppError } from "@continuo/errors";
import { type House, startHouse } from "./fixtures/house.ts";

const DEVICES = `{ viewer { devices { nodes { id name syncStatus { ackedRev } } } } }`;

describe("the gateway over HTTP", () => {
  let house: House;
  beforeAll(async () => {
    house = await startHouse();
  });
  afterAll(() => house[Symbol.asyncDispose]());

  it("answers one question from several subgraphs as the viewer", async () => {
    const ada = house.join(2);
    const { body } = await house.graphql(`{ me { email } viewer { devices { nodes { name syncStatus { ackedRev } } } } }`, {
      token: await house.token(ada),
    });
    expect(body).toEqual({
      data: {
        me: { email: `${ada.userId}@example.com` },
        viewer: {
          devices: {
            nodes: [
              { name: "Device 1", syncStatus: { ackedRev: 1 } },
              { name: "Device 2", syncStatus: { ackedRev: 1 } },
            ],
          },
        },
      },
    });
  });
});
void AppError; void DEVICES;
