package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"reflect"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// The tour asks a broker for everything that the client knows to ask, so that ../capture.ts can record the requests.
// What the broker answers does not matter. The version is that of a Kafka which the client is told to speak to.
func (p *program) tour(c command) (any, error) {
	shared := []kgo.Opt{
		kgo.SeedBrokers(p.bootstrap),
		kgo.ClientID("franz-go"),
		kgo.MaxVersions(kversion.FromString(c.Version)),
		kgo.DisableIdempotentWrite(),
		kgo.RequestRetries(1),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := kgo.NewClient(append(shared, kgo.DefaultProduceTopic(c.Topic))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	adminTour(ctx, admin, c.Topic)
	client.ProduceSync(ctx, kgo.StringRecord("one"), kgo.KeyStringRecord("key", "two"))
	groupTour(ctx, shared, c.Topic, c.Group)
	transactionTour(ctx, shared, c.Topic, c.Group)
	groupAdminTour(ctx, admin, c.Topic, c.Group)
	admin.DeleteTopics(ctx, c.Topic)
	return map[string]any{}, nil
}

func adminTour(ctx context.Context, admin *kadm.Client, topic string) {
	admin.ApiVersions(ctx)
	admin.CreateTopics(ctx, 2, 1, map[string]*string{"retention.ms": kadm.StringPtr("3600000")}, topic)
	admin.Metadata(ctx, topic)
	admin.ListTopics(ctx)
	admin.CreatePartitions(ctx, 1, topic)
	admin.DescribeTopicConfigs(ctx, topic)
	admin.DescribeBrokerConfigs(ctx, 1)
	admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "flush.ms", Value: kadm.StringPtr("1000")}}, topic)
	admin.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: kadm.StringPtr("-1")}}, topic)
	admin.ListConfigResources(ctx)
	admin.ListStartOffsets(ctx, topic)
	admin.ListEndOffsets(ctx, topic)
	admin.ListMaxTimestampOffsets(ctx, topic)
	admin.ListCommittedOffsets(ctx, topic)
	var epochs kadm.OffsetForLeaderEpochRequest
	epochs.Add(topic, 0, 0)
	admin.OffsetForLeaderEpoch(ctx, epochs)
	deleted := make(kadm.Offsets)
	deleted.Add(kadm.Offset{Topic: topic, Partition: 0, At: 0})
	admin.DeleteRecords(ctx, deleted)
	var partitions kadm.TopicsSet
	partitions.Add(topic, 0)
	admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, partitions)
	admin.ListPartitionReassignments(ctx, partitions)
	var assignments kadm.AlterPartitionAssignmentsReq
	assignments.Assign(topic, 0, []int32{1})
	admin.AlterPartitionAssignments(ctx, assignments)
	admin.DescribeAllLogDirs(ctx, partitions)
	var moves kadm.AlterReplicaLogDirsReq
	moves.Add("/tmp", partitions)
	admin.AlterAllReplicaLogDirs(ctx, moves)
	admin.DescribeProducers(ctx, partitions)
	acls := kadm.NewACLs().Allow("User:a").AllowHosts().Topics(topic).Operations(kadm.OpRead).ResourcePatternType(kadm.ACLPatternLiteral)
	admin.CreateACLs(ctx, acls)
	admin.DescribeACLs(ctx, acls)
	admin.DeleteACLs(ctx, acls)
	user := "alice"
	quota := kadm.ClientQuotaEntity{{Type: "user", Name: &user}}
	admin.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{Entity: quota, Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 1e6}}}})
	admin.DescribeClientQuotas(ctx, false, []kadm.DescribeClientQuotaComponent{{Type: "user", MatchName: &user}})
	admin.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: user, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "secret"}})
	admin.DescribeUserSCRAMs(ctx, user)
	admin.UpdateFeatures(ctx, true, kadm.FeatureUpdate{Feature: "metadata.version", MaxVersionLevel: 29})
	admin.CreateDelegationToken(ctx, kadm.CreateDelegationToken{})
	admin.RenewDelegationToken(ctx, []byte{1, 2, 3}, time.Minute)
	admin.ExpireDelegationToken(ctx, []byte{1, 2, 3}, time.Minute)
	admin.DescribeDelegationTokens(ctx)
}

func groupTour(ctx context.Context, shared []kgo.Opt, topic, group string) {
	for _, options := range [][]kgo.Opt{
		{kgo.ConsumerGroup(group), kgo.InstanceID("instance-1")},
		{kgo.ConsumerGroup(group + "-next"), kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer())},
	} {
		options = append(options, shared...)
		options = append(options, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.DisableAutoCommit(), kgo.HeartbeatInterval(200*time.Millisecond), kgo.FetchMaxWait(300*time.Millisecond))
		client, err := kgo.NewClient(options...)
		if err != nil {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, 3*time.Second)
		fetches := client.PollRecords(limited, 10)
		client.CommitRecords(limited, fetches.Records()...)
		// Long enough for a heartbeat, and for a fetch that goes on from a session.
		client.PollRecords(withTimeout(ctx, 700*time.Millisecond), 10)
		client.LeaveGroupContext(limited)
		cancel()
		client.Close()
	}
}

func transactionTour(ctx context.Context, shared []kgo.Opt, topic, group string) {
	// The last of two equal options counts: these writes are idempotent.
	options := append([]kgo.Opt{}, shared[:3]...)
	options = append(options, kgo.ConsumerGroup(group+"-eos"), kgo.ConsumeTopics(topic), kgo.TransactionalID("transaction-"+group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DefaultProduceTopic(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	session, err := kgo.NewGroupTransactSession(options...)
	if err != nil {
		return
	}
	defer session.Close()
	limited := withTimeout(ctx, 5*time.Second)
	session.PollRecords(limited, 1)
	if session.Begin() == nil {
		session.ProduceSync(limited, kgo.StringRecord("three"))
		session.End(limited, kgo.TryCommit)
	}
	if session.Begin() == nil {
		session.ProduceSync(limited, kgo.StringRecord("four"))
		session.End(limited, kgo.TryAbort)
	}
}

func groupAdminTour(ctx context.Context, admin *kadm.Client, topic, group string) {
	admin.ListGroups(ctx)
	admin.ListGroups(ctx, "Stable")
	admin.DescribeGroups(ctx, group)
	admin.DescribeConsumerGroups(ctx, group+"-next")
	admin.FetchManyOffsets(ctx, group, group+"-eos")
	admin.FetchOffsets(ctx, group)
	offsets := make(kadm.Offsets)
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 0, Metadata: "rewound"})
	admin.CommitOffsets(ctx, group, offsets)
	var partitions kadm.TopicsSet
	partitions.Add(topic, 0)
	admin.DeleteOffsets(ctx, group, partitions)
	admin.LeaveGroup(ctx, kadm.LeaveGroup(group).InstanceIDs("instance-1"))
	admin.DeleteGroups(ctx, group)
	admin.FindGroupCoordinators(ctx, group)
	admin.FindTxnCoordinators(ctx, "transaction-"+group)
	admin.ListTransactions(ctx, nil, nil)
	admin.DescribeTransactions(ctx, "transaction-"+group)
	admin.WriteTxnMarkers(ctx, kadm.TxnMarkers{ProducerID: 1, ProducerEpoch: 1, Topics: partitions})
	admin.DescribeShareGroups(ctx, group)
	admin.DescribeShareGroupOffsets(ctx, group)
	admin.AlterShareGroupOffsets(ctx, group, offsets)
	admin.DeleteShareGroupOffsets(ctx, group, topic)
}

func withTimeout(parent context.Context, timeout time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(parent, timeout)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// Every request that the library can encode, in every version, with something in each field: bytes by a hand that is
// not ours even where no client sends such a request. Answers `{key, version, hex}` with header and body.
func encodings() any {
	type encoding struct {
		Key     int16  `json:"key"`
		Version int16  `json:"version"`
		Hex     string `json:"hex"`
	}
	var all []encoding
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("kmsg"))
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		known := kmsg.RequestForKey(key)
		if known == nil {
			continue
		}
		for version := int16(0); version <= known.MaxVersion(); version++ {
			request := kmsg.RequestForKey(key)
			request.SetVersion(version)
			fill(reflect.ValueOf(request).Elem(), 0)
			request.SetVersion(version)
			frame := formatter.AppendRequest(nil, request, 7)
			all = append(all, encoding{key, version, hex.EncodeToString(frame[4:])})
		}
	}
	return map[string]any{"encodings": all}
}

// Puts something other than the default into every field, the same each time.
func fill(value reflect.Value, depth int) {
	switch value.Kind() {
	case reflect.Struct:
		for i := range value.NumField() {
			field := value.Type().Field(i)
			if field.IsExported() && field.Name != "UnknownTags" && field.Name != "Version" {
				fill(value.Field(i), depth+i+1)
			}
		}
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(value.Elem(), depth)
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 2, 2))
		for i := range 2 {
			fill(value.Index(i), depth+i)
		}
	case reflect.Array:
		for i := range value.Len() {
			fill(value.Index(i), depth+i)
		}
	case reflect.String:
		value.SetString(fmt.Sprintf("text-%d", depth))
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		value.SetInt(int64(depth + 1))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		value.SetUint(uint64(depth + 1))
	case reflect.Float64:
		value.SetFloat(float64(depth) + 0.5)
	}
}
