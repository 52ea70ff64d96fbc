import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { Native } from "@millrace/base/node/native";
import { NodeDisk } from "@millrace/base/node/node-disk";
import { diskCases } from "@millrace/base/test/disk-cases";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";

const root = mkdtempSync(join(tmpdir(), "millrace-recording-"));
afterAll(() => rmSync(root, { recursive: true }));

diskCases("simulatedDisk", async () => {
  const disk = new SimulatedDisk();
  await disk.makeDirectory("/data");
  return { disk, directory: "/data" };
});

diskCases("recordingDisk over simulatedDisk", async () => {
  const disk = await RecordingDisk.over(new SimulatedDisk(), "/data");
  await disk.makeDirectory("/data");
  return { disk, directory: "/data" };
});

diskCases("recordingDisk over nodeDisk", async () => {
  const directory = mkdtempSync(join(root, "case-"));
  const disk = await RecordingDisk.over(new NodeDisk({ native: new Native({ isWanted: true }) }), directory);
  return { disk, directory };
});
