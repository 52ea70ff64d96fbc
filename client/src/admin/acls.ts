import { describeAcls } from "kafka-protocol-ts/messages/29-describe-acls";
import { createAcls } from "kafka-protocol-ts/messages/30-create-acls";
import { deleteAcls } from "kafka-protocol-ts/messages/31-delete-acls";
import { brokerError } from "../errors.ts";
import { aclOperations, aclPatterns, aclPermissions, aclResourceTypes } from "./acl-words.ts";
import type { AclOperation, AclPattern, AclPermission, AclResourceType } from "./acl-words.ts";
import type { Batch, CallOptions, Calls } from "./calls.ts";
import { check, reply } from "./calls.ts";
import { isMany } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { anyBroker, controller } from "./routes.ts";

/** One access rule: who may, or may not, do what with which resource. */
export interface Acl {
  /** The kind of thing that the rule is about. */
  readonly resource: AclResourceType;
  /** Of the cluster: "kafka-cluster". "*" stands for every name. */
  readonly name: string;
  /** Whether `name` is the whole name, or what names begin with. */
  readonly pattern: AclPattern;
  /** "User:alice", or "User:*" for everybody. */
  readonly principal: string;
  /** An address, or "*" for every one. */
  readonly host: string;
  /** What the principal wants to do. "all" stands for everything that the resource knows. */
  readonly operation: AclOperation;
  /** Whether the principal may, or may not. */
  readonly permission: AclPermission;
}

/** A rule to be made. */
export interface NewAcl extends Omit<Acl, "pattern" | "host" | "permission"> {
  /** Default "literal". */
  readonly pattern?: AclPattern;
  /** Default "*". */
  readonly host?: string;
  /** Default "allow". */
  readonly permission?: AclPermission;
}

/** Rules in which everything is as it is here; what is absent may be anything. */
export interface AclFilter {
  /** Only rules about this kind of resource. */
  readonly resource?: AclResourceType;
  /** Only rules with this name, see `pattern`. */
  readonly name?: string;
  /** "match" finds the rules that hold for a resource of this name: literal, prefixed, and those of "*". */
  readonly pattern?: AclPattern | "match";
  /** Only rules for it: "User:alice". */
  readonly principal?: string;
  /** Only rules for this address. */
  readonly host?: string;
  /** Only rules about this operation. */
  readonly operation?: AclOperation;
  /** Only rules that allow, or that deny. */
  readonly permission?: AclPermission;
}

const any = 1;
const aclName = ({ principal, permission = "allow", operation, resource, name }: NewAcl): string =>
  `rule "${permission} ${principal} ${operation} on ${resource} ${name}"`;
const filterName = (filter: AclFilter): string => `rules ${JSON.stringify(filter)}`;

/**
 * Access rules. A cluster without an authorizer answers SECURITY_DISABLED.
 *
 * @example
 *     await admin.acls.create({ resource: "topic", name: "orders", principal: "User:alice", operation: "read" });
 */
export class AclsAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Makes rules. One that is there already is made again, which changes nothing.
   *
   *     await admin.acls.create({ resource: "topic", name: "orders", principal: "User:alice", operation: "read" });
   *
   * @throws KafkaError of a single rule: SECURITY_DISABLED, INVALID_REQUEST, CLUSTER_AUTHORIZATION_FAILED.
   */
  create(acl: NewAcl, options?: CallOptions): Promise<void>;
  create(acls: readonly NewAcl[], options?: CallOptions): Promise<readonly Outcome<NewAcl>[]>;
  async create(
    acls: NewAcl | readonly NewAcl[],
    options: CallOptions = {},
  ): Promise<void | readonly Outcome<NewAcl>[]> {
    const batch: Batch<NewAcl, void> = {
      call: "acls.create",
      items: isMany(acls) ? acls : [acls],
      name: aclName,
      route: controller(this.#calls.wire),
      send: async (connection, items) => {
        const { results } = await connection.request(createAcls, {
          creations: items.map((acl) => ({
            resourceType: aclResourceTypes.code(acl.resource),
            resourceName: acl.name,
            resourcePatternType: aclPatterns.code(acl.pattern ?? "literal"),
            principal: acl.principal,
            host: acl.host ?? "*",
            operation: aclOperations.code(acl.operation),
            permissionType: aclPermissions.code(acl.permission ?? "allow"),
          })),
        });
        // The answer has no names: it keeps the order.
        return items.map((_, at) => reply(results[at], () => {}));
      },
    };
    return isMany(acls) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * The rules that the filter finds; without one, all.
   *
   * @throws KafkaError SECURITY_DISABLED where there is no authorizer.
   */
  async list(filter: AclFilter = {}, options: CallOptions = {}): Promise<readonly Acl[]> {
    const parts = { call: "acls.list", route: anyBroker(this.#calls.wire) };
    return this.#calls.ask(parts, options, async (connection) => {
      const answer = await connection.request(describeAcls, codesOf(filter));
      check(answer, filterName(filter), connection);
      return answer.resources.flatMap(({ acls, ...resource }) => acls.flatMap((acl) => known({ ...resource, ...acl })));
    });
  }

  /**
   * Deletes the rules that a filter finds, and tells which.
   *
   * @throws KafkaError of a single filter: SECURITY_DISABLED ...; that one rule could not be deleted is its own outcome.
   */
  delete(filter: AclFilter, options?: CallOptions): Promise<readonly Outcome<Acl>[]>;
  delete(
    filters: readonly AclFilter[],
    options?: CallOptions,
  ): Promise<readonly Outcome<AclFilter, readonly Outcome<Acl>[]>[]>;
  async delete(
    filters: AclFilter | readonly AclFilter[],
    options: CallOptions = {},
  ): Promise<readonly Outcome<Acl>[] | readonly Outcome<AclFilter, readonly Outcome<Acl>[]>[]> {
    const batch: Batch<AclFilter, readonly Outcome<Acl>[]> = {
      call: "acls.delete",
      items: isMany(filters) ? filters : [filters],
      name: filterName,
      route: controller(this.#calls.wire),
      send: async (connection, items) => {
        const { filterResults } = await connection.request(deleteAcls, {
          filters: items.map(codesOf),
        });
        return items.map((_, at) =>
          reply(filterResults[at], ({ matchingAcls }) =>
            matchingAcls.flatMap((matching) =>
              known(matching).map((item): Outcome<Acl> => {
                if (matching.errorCode === 0) return { item, ok: true, value: undefined };
                const error = brokerError(matching.errorCode, aclName(item), matching.errorMessage);
                return { item, ok: false, error };
              }),
            ),
          ),
        );
      },
    };
    return isMany(filters) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }
}

function codesOf({ resource, name, pattern, principal, host, operation, permission }: AclFilter) {
  return {
    resourceTypeFilter: resource === undefined ? any : aclResourceTypes.code(resource),
    resourceNameFilter: name ?? null,
    patternTypeFilter: pattern === undefined ? any : aclPatterns.code(pattern),
    principalFilter: principal ?? null,
    hostFilter: host ?? null,
    operation: operation === undefined ? any : aclOperations.code(operation),
    permissionType: permission === undefined ? any : aclPermissions.code(permission),
  };
}

/** Rules about what this client has no word for are left out: none of its filters can name them either. */
function known(acl: {
  readonly resourceType: number;
  readonly resourceName: string;
  readonly patternType: number;
  readonly principal: string;
  readonly host: string;
  readonly operation: number;
  readonly permissionType: number;
}): Acl[] {
  const resource = aclResourceTypes.word(acl.resourceType);
  const pattern = aclPatterns.word(acl.patternType);
  const operation = aclOperations.word(acl.operation);
  const permission = aclPermissions.word(acl.permissionType);
  if (resource === "unknown" || operation === "unknown" || permission === "unknown") return [];
  if (pattern === "unknown" || pattern === "match") return [];
  const { resourceName: name, principal, host } = acl;
  return [{ resource, name, pattern, principal, host, operation, permission }];
}
