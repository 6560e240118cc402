package main

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A script is the rules in force and the requests seen so far, shared by all connections.
type script struct {
	mu       sync.Mutex
	rules    []*rule // also those removed: a rule's ID is its index
	requests []*entry
	accepted int
	open     int
}

func (s *script) add(spec ruleSpec) (int, error) {
	if spec.Key != "" {
		known := false
		for key := range kmsg.MaxKey + 1 {
			known = known || strings.EqualFold(spec.Key, kmsg.NameForKey(int16(key)))
		}
		if !known {
			return 0, fmt.Errorf("no request is called %s", spec.Key)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, &rule{ruleSpec: spec, removed: make(chan struct{})})
	return len(s.rules) - 1, nil
}

func (s *script) remove(id int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.find(id)
	if err == nil && !r.gone {
		r.gone = true
		close(r.removed)
	}
	return err
}

func (s *script) hits(id int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.find(id)
	if err != nil {
		return 0, err
	}
	return r.hits, nil
}

func (s *script) find(id int) (*rule, error) {
	if id < 0 || id >= len(s.rules) {
		return nil, fmt.Errorf("no rule %d", id)
	}
	return s.rules[id], nil
}

// judge records a request and applies the rules to it in the order they were added.
func (s *script) judge(x *exchange, node int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.entry.Node, x.entry.Time = node, float64(time.Now().UnixMicro())/1e6
	describe(x)
	s.requests = append(s.requests, x.entry)
	for _, r := range s.rules {
		if !r.gone && (r.Key == "" || strings.EqualFold(r.Key, x.entry.Key)) {
			r.apply(x)
		}
	}
	if produce, ok := x.request.(*kmsg.ProduceRequest); ok {
		x.withdraw(produce)
	}
}

// An entry is what is recorded of one request.
type entry struct {
	Key             string       `json:"key"`
	Version         int16        `json:"version"`
	Node            int32        `json:"node"`
	ClientID        string       `json:"client_id"`
	Bytes           int          `json:"bytes"` // of the whole request, with its size
	Time            float64      `json:"time"`
	Topics          []string     `json:"topics"` // null is all in a Metadata request
	AllowAutoCreate bool         `json:"allow_auto_topic_creation"`
	Batches         []*batchInfo `json:"batches"`
}

type batchInfo struct {
	Topic         string `json:"topic"`
	Partition     int32  `json:"partition"`
	Bytes         int    `json:"bytes"`
	Records       int32  `json:"records"`
	ProducerID    int64  `json:"producer_id"`
	ProducerEpoch int16  `json:"producer_epoch"`
	FirstSequence int32  `json:"first_sequence"`
	Error         *int16 `json:"error"` // null until answered
}

// describe records what a request names.
func describe(x *exchange) {
	if metadata, ok := x.request.(*kmsg.MetadataRequest); !ok || metadata.Topics != nil {
		x.entry.Topics = []string{}
	}
	eachTopic(x.request, func(name string, _ reflect.Value) { x.entry.Topics = append(x.entry.Topics, name) })
	switch request := x.request.(type) {
	case *kmsg.MetadataRequest:
		x.entry.AllowAutoCreate = request.AllowAutoTopicCreation
	case *kmsg.ProduceRequest:
		for _, topic := range request.Topics {
			for _, p := range topic.Partitions {
				info := &batchInfo{Topic: topic.Topic, Partition: p.Partition, Bytes: len(p.Records)}
				var batch kmsg.RecordBatch
				if batch.ReadFrom(p.Records) == nil {
					info.Records, info.ProducerID = batch.NumRecords, batch.ProducerID
					info.ProducerEpoch, info.FirstSequence = batch.ProducerEpoch, batch.FirstSequence
				}
				x.entry.Batches = append(x.entry.Batches, info)
			}
		}
	}
}

// answered records the error codes of a Produce response.
func (s *script) answered(x *exchange, response kmsg.Response) {
	produced, ok := response.(*kmsg.ProduceResponse)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, topic := range produced.Topics {
		for _, p := range topic.Partitions {
			for _, info := range x.entry.Batches {
				if info.Topic == topic.Topic && info.Partition == p.Partition {
					info.Error = &p.ErrorCode
				}
			}
		}
	}
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// requestsFrom returns copies, as the entries of unanswered requests still change.
func (s *script) requestsFrom(index int) []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	copies := []entry{}
	for _, e := range s.requests[min(index, len(s.requests)):] {
		one := *e
		one.Batches = []*batchInfo{}
		for _, info := range e.Batches {
			batch := *info
			one.Batches = append(one.Batches, &batch)
		}
		copies = append(copies, one)
	}
	return copies
}

func (s *script) opened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	s.open++
}

func (s *script) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

func (s *script) connections() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]int{"accepted": s.accepted, "open": s.open}
}
