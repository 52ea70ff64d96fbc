import { describeAcls as describeAclsApi } from "kafka-protocol-ts/messages/29-describe-acls";
import { createAcls as createAclsApi } from "kafka-protocol-ts/messages/30-create-acls";
import { deleteAcls as deleteAclsApi } from "kafka-protocol-ts/messages/31-delete-acls";
import { checkAcl, checkArray, checkFilled, checkTexts } from "./admin-checks.ts";
import type { AdminContext } from "./admin-topics.ts";
import type { AclEntry, AclFilter, DeleteAclResponse, DescribeAclResponse } from "./admin-types.ts";
import { asking, check } from "./asking.ts";
import type { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } from "./enums.ts";

export async function createAcls(
  { wire, retry }: AdminContext,
  { acl }: { readonly acl: readonly AclEntry[] },
): Promise<boolean> {
  checkFilled("acl", acl);
  for (const each of acl) {
    checkTexts(each, { areRequired: true });
    checkAcl(each);
  }
  await asking(wire, retry, async () => {
    const connection = await wire.controller();
    const { results } = await connection.request(createAclsApi, { creations: acl });
    for (const result of results) check(result, "an ACL", connection);
  });
  return true;
}

export async function describeAcls({ wire, retry }: AdminContext, filter: AclFilter): Promise<DescribeAclResponse> {
  checkTexts(filter, { areRequired: false });
  checkAcl(filter);
  return asking(wire, retry, async () => {
    const connection = await wire.controller();
    const answer = await connection.request(describeAclsApi, filterOf(filter));
    check(answer, "ACLs", connection);
    const { errorCode, resources } = answer;
    return {
      throttleTime: 0,
      errorCode,
      resources: resources.map(({ resourceType, resourceName, patternType, acls }) => ({
        resourceType: resourceType as AclResourceTypes,
        resourceName,
        resourcePatternType: patternType as ResourcePatternTypes,
        acls: acls.map(({ principal, host, operation, permissionType }) => ({
          principal,
          host,
          operation: operation as AclOperationTypes,
          permissionType: permissionType as AclPermissionTypes,
        })),
      })),
    };
  });
}

export async function deleteAcls(
  { wire, retry }: AdminContext,
  { filters }: { readonly filters: readonly AclFilter[] },
): Promise<DeleteAclResponse> {
  checkArray("filters", filters);
  checkFilled("filters", filters);
  for (const filter of filters) {
    checkTexts(filter, { areRequired: false });
    checkAcl(filter);
  }
  return asking(wire, retry, async () => {
    const connection = await wire.controller();
    const { filterResults } = await connection.request(deleteAclsApi, { filters: filters.map(filterOf) });
    for (const result of filterResults) {
      check(result, "ACLs", connection);
      for (const matching of result.matchingAcls) check(matching, "an ACL", connection);
    }
    return {
      throttleTime: 0,
      filterResponses: filterResults.map(({ errorCode, matchingAcls }) => ({
        errorCode,
        matchingAcls: matchingAcls.map((matching) => ({
          errorCode: matching.errorCode,
          resourceType: matching.resourceType as AclResourceTypes,
          resourceName: matching.resourceName,
          resourcePatternType: matching.patternType as ResourcePatternTypes,
          principal: matching.principal,
          host: matching.host,
          operation: matching.operation as AclOperationTypes,
          permissionType: matching.permissionType as AclPermissionTypes,
        })),
      })),
    };
  });
}

function filterOf(filter: AclFilter) {
  const { resourceType, resourceName, resourcePatternType, principal, host, operation, permissionType } = filter;
  return {
    resourceTypeFilter: resourceType,
    resourceNameFilter: resourceName ?? null,
    patternTypeFilter: resourcePatternType,
    principalFilter: principal ?? null,
    hostFilter: host ?? null,
    operation,
    permissionType,
  };
}
