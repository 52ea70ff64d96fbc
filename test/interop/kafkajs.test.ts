import { clientJourney } from "./journey.ts";

clientJourney("kafkajs");
