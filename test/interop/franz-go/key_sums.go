package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The sum of one key, with the offset behind the last number in it: a number that is read again is not added again.
type keySum struct {
	Sum  int64 `json:"sum"`
	Next int64 `json:"next"`
}

// Sums count numbers by key, as a user of franz-go would write it: what kafka_python_key_sums.py does.
func keySums(bootstrap string, count int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	state, err := restoredState(ctx, bootstrap)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumerGroup("key-sums"),
		kgo.ConsumeTopics("input_topic"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for processed := 0; processed < count; {
		fetches := client.PollRecords(ctx, min(100, count-processed))
		if err := fetches.Err0(); err != nil {
			return err
		}
		records := fetches.Records()
		var sent []*kgo.Record
		for _, r := range records {
			processed++
			key := string(r.Key)
			known := state[key]
			if r.Offset < known.Next {
				continue
			}
			number, err := strconv.ParseInt(string(r.Value), 10, 64)
			if err != nil {
				return err
			}
			known = keySum{Sum: known.Sum + number, Next: r.Offset + 1}
			state[key] = known
			sent = append(sent, jsonRecord("key_sums_state", key, known))
			if known.Sum > 1000 {
				sent = append(sent, jsonRecord("key_sums", key, map[string]any{"key": key, "total_sum": known.Sum}))
			}
		}
		if err := client.ProduceSync(ctx, sent...).FirstErr(); err != nil {
			return err
		}
		if err := client.CommitRecords(ctx, records...); err != nil {
			return err
		}
	}
	return nil
}

func jsonRecord(topic, key string, value any) *kgo.Record {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return &kgo.Record{Topic: topic, Key: []byte(key), Value: text}
}

func restoredState(ctx context.Context, bootstrap string) (map[string]keySum, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumeTopics("key_sums_state"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, "key_sums_state")
	if err != nil {
		return nil, err
	}
	starts, err := kadm.NewClient(client).ListStartOffsets(ctx, "key_sums_state")
	if err != nil {
		return nil, err
	}
	// Partitions that still have something for us, with the offset where they end.
	left := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok && start.Offset < end.Offset {
			left[end.Partition] = end.Offset
		}
	})
	state := map[string]keySum{}
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, fmt.Errorf("the state is not restored, partitions left %v: %w", left, err)
		}
		for _, r := range fetches.Records() {
			var sum keySum
			if err := json.Unmarshal(r.Value, &sum); err != nil {
				return nil, err
			}
			state[string(r.Key)] = sum
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		}
	}
	return state, nil
}
