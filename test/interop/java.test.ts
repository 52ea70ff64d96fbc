import { clientJourney } from "./journey.ts";

clientJourney("java");
