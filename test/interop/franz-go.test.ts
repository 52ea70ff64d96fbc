import { clientJourney } from "./journey.ts";

clientJourney("franz-go");
