import { clientJourney } from "./journey.ts";

clientJourney("kafka-python");
