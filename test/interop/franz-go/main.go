// franz-go, as a program that reads a command a line and answers a line (../README.md).
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type command struct {
	ID            int                `json:"id"`
	Command       string             `json:"command"`
	Topic         string             `json:"topic"`
	Topics        []string           `json:"topics"`
	Partitions    int32              `json:"partitions"`
	Configs       map[string]*string `json:"configs"`
	File          string             `json:"file"`
	Compression   string             `json:"compression"`
	ProgressEvery int                `json:"progressEvery"`
	Group         string             `json:"group"`
	Count         int                `json:"count"`
	Output        string             `json:"output"`
	Keep          bool               `json:"keep"`
	TimeoutMs     int                `json:"timeoutMs"`
	Version       string             `json:"version"`
	Isolation     string             `json:"isolation"`
	transaction
}

type record struct {
	Topic     string       `json:"topic,omitempty"`
	Partition int32        `json:"partition"`
	Offset    int64        `json:"offset"`
	Timestamp int64        `json:"timestamp"`
	Key       *string      `json:"key"`
	Value     *string      `json:"value"`
	Headers   [][2]*string `json:"headers"`
}

type answer struct {
	ID       int    `json:"id"`
	OK       any    `json:"ok,omitempty"`
	Progress int    `json:"progress,omitempty"`
	Error    string `json:"error,omitempty"`
}

type program struct {
	bootstrap string
	producers map[string]*kgo.Client
	sessions  map[string]transactional
	consumers map[string]*kgo.Client
	answers   sync.Mutex
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "key-sums" {
		count, err := strconv.Atoi(os.Args[3])
		if err == nil {
			err = keySums(os.Args[2], count)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 7 && os.Args[1] == "member" {
		if err := members(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6], os.Args[7:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	p := &program{
		bootstrap: os.Args[1],
		producers: map[string]*kgo.Client{},
		consumers: map[string]*kgo.Client{},
		sessions:  map[string]transactional{},
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		ok, err := p.run(c)
		if err != nil {
			p.answer(answer{ID: c.ID, Error: err.Error()})
		} else {
			p.answer(answer{ID: c.ID, OK: ok})
		}
	}
	for _, client := range p.producers {
		client.Close()
	}
	for _, client := range p.consumers {
		client.Close()
	}
	for _, session := range p.sessions {
		session.close()
	}
}

func (p *program) answer(a answer) {
	p.answers.Lock()
	defer p.answers.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		os.Exit(1)
	}
}

func (p *program) run(c command) (any, error) {
	switch c.Command {
	case "hello":
		return map[string]any{
			"version":      moduleVersion("github.com/twmb/franz-go"),
			"compressions": []string{"none", "gzip", "snappy", "lz4", "zstd"},
			"cannot":       []string{},
		}, nil
	case "create-topic":
		return p.createTopic(c)
	case "produce":
		return p.produce(c)
	case "consume":
		return p.consume(c)
	case "transact":
		return map[string]any{}, p.transact(c)
	case "end":
		return map[string]any{}, p.end(c.Producer, c.End)
	case "tour":
		return p.tour(c)
	case "encodings":
		return encodings(), nil
	}
	return nil, fmt.Errorf("unknown command %s", c.Command)
}

func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == path {
				return module.Version
			}
		}
	}
	return "unknown"
}

func (p *program) createTopic(c command) (any, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(p.bootstrap))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(context.Background(), c.Partitions, 1, c.Configs, c.Topic)
	return map[string]any{}, err
}

func (p *program) producer(compression string) (*kgo.Client, error) {
	if client, ok := p.producers[compression]; ok {
		return client, nil
	}
	codecs := map[string]kgo.CompressionCodec{
		"none":   kgo.NoCompression(),
		"gzip":   kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(),
		"lz4":    kgo.Lz4Compression(),
		"zstd":   kgo.ZstdCompression(),
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(p.bootstrap), kgo.ProducerBatchCompression(codecs[compression]))
	if err == nil {
		p.producers[compression] = client
	}
	return client, err
}

func (p *program) produce(c command) (any, error) {
	client, err := p.producer(c.Compression)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(c.File)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var sent []*kgo.Record
	var failures []error
	acknowledged := 0
	var waiting sync.WaitGroup
	lines := json.NewDecoder(bufio.NewReader(file))
	for lines.More() {
		var line record
		if err := lines.Decode(&line); err != nil {
			return nil, err
		}
		r := &kgo.Record{
			Topic:     c.Topic,
			Timestamp: time.UnixMilli(line.Timestamp),
			Key:       bytesOf(line.Key),
			Value:     bytesOf(line.Value),
		}
		for _, header := range line.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: *header[0], Value: bytesOf(header[1])})
		}
		sent = append(sent, r)
		waiting.Add(1)
		// Promises of one client are called one after the other.
		client.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
			defer waiting.Done()
			if err != nil {
				failures = append(failures, err)
				return
			}
			acknowledged++
			if c.ProgressEvery > 0 && acknowledged%c.ProgressEvery == 0 {
				p.answer(answer{ID: c.ID, Progress: acknowledged})
			}
		})
	}
	waiting.Wait()
	acks := make([][2]int64, len(sent))
	for i, r := range sent {
		acks[i] = [2]int64{int64(r.Partition), r.Offset}
	}
	return map[string]any{"acks": acks}, errors.Join(failures...)
}

func (p *program) consume(c command) (any, error) {
	client, isKept := p.consumers[c.Group]
	if !isKept {
		var err error
		client, err = kgo.NewClient(
			kgo.SeedBrokers(p.bootstrap),
			kgo.ConsumerGroup(c.Group),
			kgo.ConsumeTopics(c.Topics...),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.DisableAutoCommit(),
			kgo.FetchIsolationLevel(isolationOf(c.Isolation)),
		)
		if err != nil {
			return nil, err
		}
	}
	delete(p.consumers, c.Group)
	if c.Keep {
		p.consumers[c.Group] = client
	} else {
		defer client.Close()
	}
	return map[string]any{}, take(client, c)
}

// Reads just as many records as are wanted and commits them; what is left stays in the client for the next call.
func take(client *kgo.Client, c command) error {
	file, err := os.Create(c.Output)
	if err != nil {
		return err
	}
	defer file.Close()
	output := bufio.NewWriter(file)
	lines := json.NewEncoder(output)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.TimeoutMs)*time.Millisecond)
	defer cancel()
	var last []*kgo.Record
	for taken := 0; taken < c.Count; {
		fetches := client.PollRecords(ctx, c.Count-taken)
		if ctx.Err() != nil {
			return fmt.Errorf("only %d of %d records came in time", taken, c.Count)
		}
		for _, fetchError := range fetches.Errors() {
			fmt.Fprintln(os.Stderr, fetchError.Topic, fetchError.Partition, fetchError.Err)
		}
		for _, r := range fetches.Records() {
			if err := lines.Encode(lineOf(r)); err != nil {
				return err
			}
			last = append(last, r)
			taken++
		}
	}
	if err := client.CommitRecords(ctx, last...); err != nil {
		return err
	}
	return output.Flush()
}

func isolationOf(name string) kgo.IsolationLevel {
	if name == "read_committed" {
		return kgo.ReadCommitted()
	}
	return kgo.ReadUncommitted()
}

func lineOf(r *kgo.Record) record {
	line := record{
		Topic:     r.Topic,
		Partition: r.Partition,
		Offset:    r.Offset,
		Timestamp: r.Timestamp.UnixMilli(),
		Key:       base64Of(r.Key),
		Value:     base64Of(r.Value),
		Headers:   make([][2]*string, len(r.Headers)),
	}
	for i, header := range r.Headers {
		line.Headers[i] = [2]*string{&header.Key, base64Of(header.Value)}
	}
	return line
}

func bytesOf(text *string) []byte {
	if text == nil {
		return nil
	}
	bytes, err := base64.StdEncoding.DecodeString(*text)
	if err != nil {
		panic(err)
	}
	return bytes
}

func base64Of(bytes []byte) *string {
	if bytes == nil {
		return nil
	}
	text := base64.StdEncoding.EncodeToString(bytes)
	return &text
}
