import { KafkaError } from "../../errors.ts";
import { placeOf } from "../failures.ts";
import type { SerdeContext } from "../serde.ts";

/** The subject under which the schema of a record's part is registered. */
export type SubjectStrategy = (context: SerdeContext, recordName: string | null) => string;

/** `orders-value`: one schema with its versions a topic and part. The default. */
export const topicNameSubject: SubjectStrategy = ({ topic, part }) => `${topic}-${part}`;

/** `shop.Order`: the record's full name (of JSON Schema its title), whatever the topic. Several kinds of records fit in a topic. */
export const recordNameSubject: SubjectStrategy = (context, recordName) => named(context, recordName);

/** `orders-shop.Order`: as the record's name, but each topic has its own versions. */
export const topicRecordNameSubject: SubjectStrategy = (context, recordName) =>
  `${context.topic}-${named(context, recordName)}`;

function named(context: SerdeContext, recordName: string | null): string {
  if (recordName !== null) return recordName;
  const sentence = `${placeOf(context)}: its schema has no name, from which its subject would be made: see subject`;
  throw new KafkaError("INVALID_CONFIG", sentence);
}
