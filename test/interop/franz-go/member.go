package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What happens to a member of a group, as a line of the log that all members share (../README.md).
type event struct {
	Member     string           `json:"member"`
	Event      string           `json:"event"`
	Partitions []int32          `json:"partitions,omitempty"`
	Partition  int32            `json:"partition"`
	From       int64            `json:"from"`
	To         int64            `json:"to"`
	Offsets    map[string]int64 `json:"offsets,omitempty"`
	Error      string           `json:"error,omitempty"`
}

// Members of a group, each with a client of its own, until the standard input ends.
func members(bootstrap, log, topic, group, mode string, names []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	failures := make([]error, len(names))
	for i, name := range names {
		// One write a line: lines of all members stand in the order in which they came.
		file, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		tell := func(e event) {
			e.Member = name
			line, err := json.Marshal(e)
			if err == nil {
				_, err = file.Write(append(line, '\n'))
			}
			if err != nil {
				panic(err)
			}
		}
		running.Add(1)
		go func() {
			defer running.Done()
			if err := runMember(ctx, bootstrap, topic, group, mode, name, tell); err != nil {
				failures[i] = err
				tell(event{Event: "failed", Error: err.Error()})
				return
			}
			tell(event{Event: "closed"})
		}()
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	cancel()
	running.Wait()
	return errors.Join(failures...)
}

func runMember(ctx context.Context, bootstrap, topic, group, mode, name string, tell func(event)) error {
	listen := func(name string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			list := slices.Clone(partitions[topic])
			slices.Sort(list)
			tell(event{Event: name, Partitions: list})
		}
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap),
		kgo.ClientID(name),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		// Between a poll and its commit nothing is taken away.
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(listen("assigned")),
		kgo.OnPartitionsRevoked(listen("revoked")),
		kgo.OnPartitionsLost(listen("lost")),
	}
	switch mode {
	case "consumer":
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	case "cooperative":
		options = append(options, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	default:
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	}
	if mode == "static" {
		options = append(options, kgo.InstanceID(name))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := client.PollRecords(ctx, 20)
		for _, fetchError := range fetches.Errors() {
			fmt.Fprintln(os.Stderr, name, fetchError.Partition, fetchError.Err)
		}
		if err := handle(ctx, client, fetches, tell); err != nil {
			return err
		}
		client.AllowRebalance()
	}
	return nil
}

func handle(ctx context.Context, client *kgo.Client, fetches kgo.Fetches, tell func(event)) error {
	if fetches.NumRecords() == 0 {
		return nil
	}
	ends := map[string]int64{}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		end := p.Records[len(p.Records)-1].Offset + 1
		ends[strconv.Itoa(int(p.Partition))] = end
		tell(event{Event: "records", Partition: p.Partition, From: p.Records[0].Offset, To: end})
	})
	tell(event{Event: "committing", Offsets: ends})
	// Even at the end: what was taken is committed before the member leaves.
	err := client.CommitRecords(context.WithoutCancel(ctx), fetches.Records()...)
	switch {
	case err == nil:
		tell(event{Event: "committed", Offsets: ends})
	case errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.IllegalGeneration),
		errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.StaleMemberEpoch):
		tell(event{Event: "uncommitted"})
	default:
		return err
	}
	return nil
}
