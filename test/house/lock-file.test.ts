import { expect, test } from "vitest";
import { completed, missingPlatformPackages } from "./lock-file.ts";

const lock = {
  packages: {
    "": {},
    "node_modules/tool": {
      version: "1.2.3",
      dev: true,
      optionalDependencies: {
        "@tool/linux-x64-musl": "1.2.3",
        "@tool/linux-x64-gnu": "1.2.3",
        "@tool/win32-arm64": "1.2.3",
      },
    },
    "node_modules/@tool/linux-x64-gnu": { version: "1.2.3" },
  },
};

test("what npm dropped is found and comes back", () => {
  expect(missingPlatformPackages(lock).map(({ name }) => name)).toEqual(["@tool/linux-x64-musl", "@tool/win32-arm64"]);
  const { packages } = completed(lock);
  expect(packages["node_modules/@tool/linux-x64-musl"]).toEqual({
    version: "1.2.3",
    cpu: ["x64"],
    dev: true,
    libc: ["musl"],
    optional: true,
    os: ["linux"],
  });
  expect(packages["node_modules/@tool/win32-arm64"]).toMatchObject({ os: ["win32"], cpu: ["arm64"] });
  expect(missingPlatformPackages(completed(lock))).toEqual([]);
});
