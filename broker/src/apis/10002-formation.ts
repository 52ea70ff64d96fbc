/** Formation v0, between nodes: who this one is, for whoever would found a cluster with it or join the one that it belongs to. */
import { formation } from "kafka-protocol-ts/messages/10002-formation";
import type { FormationResponseInput } from "kafka-protocol-ts/messages/10002-formation";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { FormationAnswer } from "../quorum/formation.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export interface FormationServices {
  formationAnswer(): FormationAnswer;
}

export const formationHandler: Handler<FormationServices> = handler(
  formation,
  (services: FormationServices): FormationResponseInput => ({
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    ...services.formationAnswer(),
  }),
);
