package main

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	beforeHandling = "before"
	afterHandling  = "after"
)

// A ruleSpec says which requests, or which partitions of them, are answered otherwise than the cluster would, and how.
type ruleSpec struct {
	Key                    string  `json:"key"`       // the kind of request; "" is any
	Topic                  string  `json:"topic"`     // "" is any
	Partition              *int32  `json:"partition"` // null is any
	LargerThanBytes        int     `json:"larger_than_bytes"`
	Containing             []byte  `json:"containing"` // in the value of a record
	RequestLargerThanBytes int     `json:"request_larger_than_bytes"`
	After                  int     `json:"after"` // so many matching requests pass first
	Times                  int     `json:"times"` // 0 is until the rule is removed
	Error                  int16   `json:"error"`
	ErrorMessage           *string `json:"error_message"`
	RecordErrors           []int32 `json:"record_errors"` // indices within the batch (KIP-467)
	DelayMS                int     `json:"delay_ms"`
	Disconnect             string  `json:"disconnect"`
	ThrottleMS             int32   `json:"throttle_ms"` // in the response to Produce; the broker itself does not wait

	Versions   map[string][2]int16 `json:"versions"`   // of requests, in answers to ApiVersions; {0, -1} is none
	Advertised map[int32]string    `json:"advertised"` // addresses of brokers, in answers to Metadata
	Controller *int32              `json:"controller"` // likewise
}

func (s *ruleSpec) changesAnswer() bool {
	return s.Versions != nil || s.Advertised != nil || s.Controller != nil
}

// versionsOf returns the versions of a kind of request that the rule announces.
func (s *ruleSpec) versionsOf(key int16) ([2]int16, bool) {
	for name, versions := range s.Versions {
		if strings.EqualFold(name, kmsg.NameForKey(key)) {
			return versions, true
		}
	}
	return [2]int16{}, false
}

type rule struct {
	ruleSpec
	seen    int
	hits    int
	removed chan struct{} // closed when the rule is removed, which releases the answers that it delays
	gone    bool
}

// A delay ends after its time, or when its rule is removed.
type delay struct {
	duration time.Duration
	removed  <-chan struct{}
}

func (d delay) wait(closed <-chan struct{}) bool {
	timer := time.NewTimer(d.duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.removed:
	case <-closed:
		return false
	}
	return true
}

func (r *rule) apply(x *exchange) {
	var batches map[partitionKey]verdict
	if x.entry.Bytes <= r.RequestLargerThanBytes {
		return
	}
	if produce, ok := x.request.(*kmsg.ProduceRequest); ok {
		if batches = r.matchingBatches(produce, x); len(batches) == 0 {
			return
		}
	} else if !r.names(x.request) {
		return
	}
	r.seen++
	if r.seen <= r.After || r.Times > 0 && r.hits >= r.Times {
		return
	}
	r.hits++
	if r.DelayMS > 0 {
		x.delays = append(x.delays, delay{time.Duration(r.DelayMS) * time.Millisecond, r.removed})
	}
	if r.Disconnect != "" {
		x.disconnect = r.Disconnect
	}
	if r.ThrottleMS > 0 {
		x.throttleMS = r.ThrottleMS
	}
	if r.changesAnswer() {
		x.changes = append(x.changes, &r.ruleSpec)
	}
	if r.Error == 0 {
		return
	}
	if batches == nil {
		x.errors = append(x.errors, &r.ruleSpec)
	}
	for partition, v := range batches {
		x.rejected[partition] = v
	}
}

// names says whether the rule's topic and partition are in a request, or that it asks for all topics.
func (r *rule) names(request kmsg.Request) bool {
	metadata, isMetadata := request.(*kmsg.MetadataRequest)
	if r.Topic == "" || isMetadata && metadata.Topics == nil {
		return true
	}
	found := false
	eachTopic(request, func(name string, topic reflect.Value) {
		if name != r.Topic {
			return
		}
		found = found || r.Partition == nil || isMetadata
		eachPartition(topic, func(number int32, _ reflect.Value) {
			found = found || number == *r.Partition
		})
	})
	return found
}

// matchingBatches returns the rule's verdict on each batch that it matches and that no earlier rule rejects.
func (r *rule) matchingBatches(produce *kmsg.ProduceRequest, x *exchange) map[partitionKey]verdict {
	found := map[partitionKey]verdict{}
	for _, topic := range produce.Topics {
		if r.Topic != "" && r.Topic != topic.Topic {
			continue
		}
		for _, p := range topic.Partitions {
			key := partitionKey{topic.Topic, p.Partition}
			if _, rejected := x.rejected[key]; rejected || r.Partition != nil && *r.Partition != p.Partition {
				continue
			}
			if len(p.Records) <= r.LargerThanBytes {
				continue
			}
			v := verdict{spec: &r.ruleSpec, records: r.RecordErrors}
			if len(r.Containing) > 0 {
				if v.records = recordsContaining(p.Records, r.Containing); len(v.records) == 0 {
					continue
				}
			}
			found[key] = v
		}
	}
	return found
}

// recordsContaining returns the indices of the records whose values contain some bytes.
func recordsContaining(raw, wanted []byte) []int32 {
	var batch kmsg.RecordBatch
	if batch.ReadFrom(raw) != nil {
		return nil
	}
	codec := kgo.CompressionCodecType(batch.Attributes & 7)
	records, err := kgo.DefaultDecompressor().Decompress(batch.Records, codec)
	if err != nil {
		return nil
	}
	var found []int32
	for index := int32(0); len(records) > 0; index++ {
		length, prefix := binary.Varint(records)
		end := prefix + int(length)
		var record kmsg.Record
		if prefix <= 0 || end > len(records) || record.ReadFrom(records[:end]) != nil {
			return found
		}
		if bytes.Contains(record.Value, wanted) {
			found = append(found, index)
		}
		records = records[end:]
	}
	return found
}
