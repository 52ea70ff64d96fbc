import { clientJourney } from "./journey.ts";

clientJourney("platformatic");
