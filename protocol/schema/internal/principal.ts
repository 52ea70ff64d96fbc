import type { MessageSchema } from "../../src/schema.ts";

/** Who a forwarded request is from: the `requestPrincipal` of an Envelope. */
export const principal: readonly MessageSchema[] = [
  { name: "DefaultPrincipalData", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "type", type: "string" },
    { name: "name", type: "string" },
    { name: "tokenAuthenticated", type: "bool" },
  ] },
];
