package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What the commands transact and end are given.
type transaction struct {
	Producer        string `json:"producer"`
	TransactionalID string `json:"transactionalId"`
	Take            *struct {
		Topic string `json:"topic"`
		Group string `json:"group"`
		Count int    `json:"count"`
	} `json:"take"`
	Records [][2]any `json:"records"`
	End     string   `json:"end"`
}

// A producer alone, or one that commits what a member of a group has polled: franz-go has a type for each.
type transactional interface {
	begin() error
	produce(ctx context.Context, records ...*kgo.Record) error
	end(ctx context.Context, commit kgo.TransactionEndTry) error
	close()
}

type alone struct{ client *kgo.Client }

func (a alone) begin() error { return a.client.BeginTransaction() }
func (a alone) close()       { a.client.Close() }
func (a alone) produce(ctx context.Context, records ...*kgo.Record) error {
	return a.client.ProduceSync(ctx, records...).FirstErr()
}
func (a alone) end(ctx context.Context, commit kgo.TransactionEndTry) error {
	return a.client.EndTransaction(ctx, commit)
}

type member struct{ session *kgo.GroupTransactSession }

func (m member) begin() error { return m.session.Begin() }
func (m member) close()       { m.session.Close() }
func (m member) produce(ctx context.Context, records ...*kgo.Record) error {
	return m.session.ProduceSync(ctx, records...).FirstErr()
}
func (m member) end(ctx context.Context, commit kgo.TransactionEndTry) error {
	committed, err := m.session.End(ctx, commit)
	if err == nil && committed != bool(commit) {
		err = errors.New("the session did not commit")
	}
	return err
}

func (p *program) transact(c command) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	session, isOpen := p.sessions[c.Producer]
	if isOpen && c.Take != nil {
		session.close()
		isOpen = false
	}
	if !isOpen {
		var err error
		session, err = p.open(c)
		if err != nil {
			return err
		}
		p.sessions[c.Producer] = session
	}
	if err := session.begin(); err != nil {
		return err
	}
	var records []*kgo.Record
	for _, r := range c.Records {
		records = append(records, &kgo.Record{Topic: c.Topic, Partition: int32(r[0].(float64)), Value: []byte(r[1].(string))})
	}
	if err := session.produce(ctx, records...); err != nil {
		return err
	}
	if c.Take == nil {
		return p.end(c.Producer, c.End)
	}
	for taken := 0; taken < c.Take.Count; {
		fetches := session.(member).session.PollRecords(ctx, c.Take.Count-taken)
		if ctx.Err() != nil {
			return fmt.Errorf("only %d of %d records came in time", taken, c.Take.Count)
		}
		taken += fetches.NumRecords()
	}
	err := p.end(c.Producer, c.End)
	// The member leaves, and its producer with it.
	delete(p.sessions, c.Producer)
	session.close()
	return err
}

func (p *program) open(c command) (transactional, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(p.bootstrap),
		kgo.TransactionalID(c.TransactionalID),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}
	if c.Take == nil {
		client, err := kgo.NewClient(options...)
		return alone{client}, err
	}
	session, err := kgo.NewGroupTransactSession(append(options,
		kgo.ConsumerGroup(c.Take.Group),
		kgo.ConsumeTopics(c.Take.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)...)
	return member{session}, err
}

func (p *program) end(producer string, end string) error {
	if end == "open" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return p.sessions[producer].end(ctx, kgo.TransactionEndTry(end == "commit"))
}
