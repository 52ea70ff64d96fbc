import { clientJourney } from "./journey.ts";

clientJourney("millrace");
