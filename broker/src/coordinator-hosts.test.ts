import { expect, test } from "vitest";
import { GroupsHost, offsetsTopic } from "./groups-host.ts";
import type { GroupsHostOptions } from "./groups-host.ts";
import type { TopicImage } from "./metadata/image.ts";
import { ReplicationWorld } from "../test/replication-world.ts";

test("a group coordinator goes with the leadership, and loads anew in each leader epoch", async () => {
  const world = await ReplicationWorld.open();
  await world.createTopic(offsetsTopic, { partitions: 2 });
  const broker = world.broker(1);
  const { clock, random, logger, configs } = broker.services;
  const options: GroupsHostOptions = {
    ...{ clock, random, logger, configs, partitions: broker.partitions },
    image: () => world.image,
    fatal: (error) => world.fatalErrors.push(error),
  };
  const host = new GroupsHost(options);
  const told: string[] = [];
  const { coordinator } = host;
  const { onLeader, onResigned } = coordinator;
  coordinator.onLeader = (index, log) => {
    told.push(`leads ${index}`);
    onLeader.call(coordinator, index, log);
  };
  coordinator.onResigned = (index) => {
    told.push(`resigned ${index}`);
    onResigned.call(coordinator, index);
  };
  const apply = async (): Promise<readonly string[]> => {
    host.apply({ changedTopics: [world.image.topic(offsetsTopic) as TopicImage], deletedTopics: [] });
    await world.clock.advance(10);
    return told.splice(0);
  };
  expect(await apply()).toEqual(["leads 0", "leads 1"]);
  expect(await apply()).toEqual([]);
  await world.run(world.change(offsetsTopic, { leader: 2 }));
  expect(await apply()).toEqual(["resigned 0"]);
  await world.run(world.change(offsetsTopic, { leader: 1 }));
  expect(await apply()).toEqual(["leads 0"]);
  await world.run(world.change(offsetsTopic, { leader: 1 }));
  expect(await apply()).toEqual(["leads 0"]);
  await world.run(world.change(offsetsTopic, { isr: [1, 2] }));
  expect(await apply()).toEqual([]);
  coordinator.close();
});
