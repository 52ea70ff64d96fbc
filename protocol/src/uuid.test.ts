import fc from "fast-check";
import { expect, test } from "vitest";
import { putUuid, uuidAt, zeroUuid } from "./uuid.ts";

test("a uuid is base64url without padding, and comes back to its bytes", () => {
  const property = fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
    const uuid = uuidAt(bytes, 0);
    expect(uuid).toBe(Buffer.from(bytes).toString("base64url"));
    const target = Buffer.alloc(20);
    expect(putUuid(target, 2, uuid)).toBe(true);
    expect([...target.subarray(2, 18)]).toEqual([...bytes]);
    expect(target.readInt16BE(0) + target.readInt16BE(18)).toBe(0);
  });
  fc.assert(property);
});

test("sixteen zeros are the uuid that stands for none", () => {
  expect(uuidAt(Buffer.alloc(16), 0)).toBe(zeroUuid);
});

test.for(["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAA=A", "AAAAAAAAAAAAAAAAAAAAAä"])(
  "%j is no uuid",
  (text) => expect(putUuid(Buffer.alloc(16), 0, text)).toBe(false),
);
