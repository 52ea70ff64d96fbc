import { clientJourney } from "./journey.ts";

clientJourney("librdkafka");
