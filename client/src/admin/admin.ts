import type { Wire } from "../network/wire.ts";
import { AclsAdmin } from "./acls.ts";
import { Calls } from "./calls.ts";
import type { CallOptions } from "./calls.ts";
import { ClusterAdmin } from "./cluster.ts";
import { ConfigsAdmin } from "./configs.ts";
import { explained } from "./explanations.ts";
import type { ExplainedKind, Explanation } from "./explanations.ts";
import { FeaturesAdmin } from "./features.ts";
import { GroupsAdmin } from "./groups.ts";
import { LogDirsAdmin } from "./log-dirs.ts";
import { PartitionsAdmin } from "./partitions.ts";
import { QuorumAdmin } from "./quorum.ts";
import { QuotasAdmin } from "./quotas.ts";
import { ShareGroupsAdmin } from "./share-groups.ts";
import { TokensAdmin } from "./tokens.ts";
import { TopicsAdmin } from "./topics.ts";
import { TransactionsAdmin } from "./transactions.ts";
import { UsersAdmin } from "./users.ts";

/**
 * Administration of a cluster. A call for one thing throws its error; a call for several answers with an outcome for
 * each. Every request goes to the broker that is responsible, and again for up to `timeoutMs` where that may help. A call
 * that a broker does not serve fails with UNSUPPORTED_VERSION.
 *
 * @example
 *     const admin = cluster.admin();
 *     await admin.topics.create({ name: "orders", partitions: 6 });
 */
export class Admin {
  /** Topics: make, delete, list, describe; more partitions; delete records; look up offsets. */
  readonly topics: TopicsAdmin;
  /** Leaders and replicas: elect, move. */
  readonly partitions: PartitionsAdmin;
  /** Settings of topics, brokers, groups and client metrics. */
  readonly configs: ConfigsAdmin;
  /** Groups of every kind: list, describe, remove members, committed offsets, delete. */
  readonly groups: GroupsAdmin;
  /** Offsets of share groups. */
  readonly shareGroups: ShareGroupsAdmin;
  /** Transactions and producers: list, describe, fence, end what hangs. */
  readonly transactions: TransactionsAdmin;
  /** Who may do what. */
  readonly acls: AclsAdmin;
  /** Limits of clients. */
  readonly quotas: QuotasAdmin;
  /** SCRAM credentials. */
  readonly users: UsersAdmin;
  /** Delegation tokens. */
  readonly tokens: TokensAdmin;
  /** The cluster's id and brokers. */
  readonly cluster: ClusterAdmin;
  /** The controllers. */
  readonly quorum: QuorumAdmin;
  /** Feature levels. */
  readonly features: FeaturesAdmin;
  /** The disks of brokers. */
  readonly logDirs: LogDirsAdmin;
  readonly #calls: Calls;

  constructor(wire: Wire) {
    const calls = new Calls(wire);
    this.#calls = calls;
    this.topics = new TopicsAdmin(calls);
    this.partitions = new PartitionsAdmin(calls);
    this.configs = new ConfigsAdmin(calls);
    this.groups = new GroupsAdmin(calls);
    this.shareGroups = new ShareGroupsAdmin(calls);
    this.transactions = new TransactionsAdmin(calls);
    this.acls = new AclsAdmin(calls);
    this.quotas = new QuotasAdmin(calls);
    this.users = new UsersAdmin(calls);
    this.tokens = new TokensAdmin(calls);
    this.cluster = new ClusterAdmin(calls);
    this.quorum = new QuorumAdmin(calls);
    this.features = new FeaturesAdmin(calls);
    this.logDirs = new LogDirsAdmin(calls);
  }

  /**
   * Why something is as it is.
   *
   * @throws KafkaError UNSUPPORTED_VERSION where the cluster is not Millrace: nobody else can say.
   */
  async explain(kind: ExplainedKind, name: string, options: CallOptions = {}): Promise<Explanation> {
    return explained(this.#calls, { kind, name }, options);
  }
}
