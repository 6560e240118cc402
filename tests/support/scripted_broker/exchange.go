package main

import (
	"encoding/binary"
	"net"
	"reflect"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const leaderNotAvailable = 5

type partitionKey struct {
	topic     string
	partition int32
}

// A verdict is how one rule answers one partition of a Produce request.
type verdict struct {
	spec    *ruleSpec
	records []int32 // those that the rule names, counted from the first of the batch
}

// An exchange is a request, what the rules say about it, and what is recorded of it.
type exchange struct {
	request     kmsg.Request
	correlation uint32
	bodyAt      int
	entry       *entry
	rejected    map[partitionKey]verdict // partitions of a Produce request that the cluster does not see
	errors      []*ruleSpec              // for the response to any other request
	changes     []*ruleSpec              // for the response to ApiVersions or Metadata
	delays      []delay
	throttleMS  int32
	disconnect  string
}

// nothingLeft says whether the rules answer every partition of a Produce request.
func (x *exchange) nothingLeft() bool {
	produce, ok := x.request.(*kmsg.ProduceRequest)
	return ok && len(x.rejected) > 0 && len(produce.Topics) == 0
}

// unanswered says whether the client expects no response.
func (x *exchange) unanswered() bool {
	produce, ok := x.request.(*kmsg.ProduceRequest)
	return ok && produce.Acks == 0
}

// withdraw takes the rejected partitions out of the request.
func (x *exchange) withdraw(produce *kmsg.ProduceRequest) {
	for i := range produce.Topics {
		topic := &produce.Topics[i]
		topic.Partitions = slices.DeleteFunc(topic.Partitions, func(p kmsg.ProduceRequestTopicPartition) bool {
			_, rejected := x.rejected[partitionKey{topic.Topic, p.Partition}]
			return rejected
		})
	}
	produce.Topics = slices.DeleteFunc(produce.Topics, func(t kmsg.ProduceRequestTopic) bool {
		return len(t.Partitions) == 0
	})
}

func (x *exchange) encodeRequest(frame []byte) []byte {
	if len(x.rejected) == 0 {
		return frame
	}
	changed := x.request.AppendTo(slices.Clone(frame[:x.bodyAt]))
	binary.BigEndian.PutUint32(changed, uint32(len(changed)-4))
	return changed
}

// amend puts the errors of the rules into a response.
func (x *exchange) amend(response kmsg.Response) {
	if produced, ok := response.(*kmsg.ProduceResponse); ok {
		for partition, v := range x.rejected {
			addRejection(produced, partition, v)
		}
		if x.throttleMS > 0 {
			produced.ThrottleMillis = x.throttleMS
		}
	}
	for _, spec := range x.errors {
		setError(response, spec)
	}
	for _, spec := range x.changes {
		change(response, spec)
	}
}

// change puts other versions, addresses or another controller into a response.
func change(response kmsg.Response, spec *ruleSpec) {
	switch r := response.(type) {
	case *kmsg.ApiVersionsResponse:
		r.ApiKeys = slices.DeleteFunc(r.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool {
			versions, changed := spec.versionsOf(k.ApiKey)
			return changed && versions[1] < 0
		})
		for i := range r.ApiKeys {
			k := &r.ApiKeys[i]
			if versions, changed := spec.versionsOf(k.ApiKey); changed {
				k.MinVersion, k.MaxVersion = versions[0], versions[1]
			}
		}
	case *kmsg.MetadataResponse:
		if spec.Controller != nil {
			r.ControllerID = *spec.Controller
		}
		for i := range r.Brokers {
			b := &r.Brokers[i]
			if address, changed := spec.Advertised[b.NodeID]; changed {
				host, port, _ := net.SplitHostPort(address)
				number, _ := strconv.Atoi(port)
				b.Host, b.Port = host, int32(number)
			}
		}
	}
}

func addRejection(response *kmsg.ProduceResponse, partition partitionKey, v verdict) {
	answer := kmsg.NewProduceResponseTopicPartition()
	answer.Partition, answer.ErrorCode, answer.BaseOffset = partition.partition, v.spec.Error, -1
	answer.ErrorMessage = v.spec.ErrorMessage
	for _, index := range v.records {
		record := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		record.RelativeOffset, record.ErrorMessage = index, v.spec.ErrorMessage
		answer.ErrorRecords = append(answer.ErrorRecords, record)
	}
	for i := range response.Topics {
		if response.Topics[i].Topic == partition.topic {
			response.Topics[i].Partitions = append(response.Topics[i].Partitions, answer)
			return
		}
	}
	topic := kmsg.NewProduceResponseTopic()
	topic.Topic, topic.Partitions = partition.topic, append(topic.Partitions, answer)
	response.Topics = append(response.Topics, topic)
}

// setError puts a rule's error where the response has a field for it: at the top if the rule names no topic, else at
// the topic, else at its partitions.
func setError(response kmsg.Response, spec *ruleSpec) {
	_, isMetadata := response.(*kmsg.MetadataResponse) // its code at the top means that a client must bootstrap again (KIP-1102)
	if spec.Topic == "" && !isMetadata && putError(reflect.ValueOf(response).Elem(), spec) {
		return
	}
	eachTopic(response, func(name string, topic reflect.Value) {
		if spec.Topic != "" && spec.Topic != name {
			return
		}
		if spec.Partition == nil && putError(topic, spec) {
			if isMetadata {
				topic.FieldByName("Partitions").SetZero()
			}
			return
		}
		eachPartition(topic, func(number int32, partition reflect.Value) {
			if spec.Partition == nil || *spec.Partition == number {
				putError(partition, spec)
			}
		})
	})
}

func putError(v reflect.Value, spec *ruleSpec) bool {
	if v.Kind() != reflect.Struct || !v.FieldByName("ErrorCode").IsValid() {
		return false
	}
	v.FieldByName("ErrorCode").SetInt(int64(spec.Error))
	if message := v.FieldByName("ErrorMessage"); message.IsValid() && spec.ErrorMessage != nil {
		message.Set(reflect.ValueOf(spec.ErrorMessage))
	}
	if leader := v.FieldByName("Leader"); leader.IsValid() && spec.Error == leaderNotAvailable {
		leader.SetInt(-1)
	}
	return true
}

// eachTopic visits the topics that a request or response names.
func eachTopic(message any, visit func(string, reflect.Value)) {
	topics := reflect.ValueOf(message).Elem().FieldByName("Topics")
	if !topics.IsValid() || topics.Kind() != reflect.Slice {
		return
	}
	for i := range topics.Len() {
		topic := topics.Index(i)
		name := topic
		if topic.Kind() == reflect.Struct {
			name = topic.FieldByName("Topic")
		}
		if name.Kind() == reflect.Pointer {
			name = name.Elem()
		}
		if name.Kind() == reflect.String {
			visit(name.String(), topic)
		}
	}
}

// eachPartition visits the partitions of a topic of a request or response.
func eachPartition(topic reflect.Value, visit func(int32, reflect.Value)) {
	if topic.Kind() != reflect.Struct {
		return
	}
	partitions := topic.FieldByName("Partitions")
	if !partitions.IsValid() || partitions.Kind() != reflect.Slice {
		return
	}
	for i := range partitions.Len() {
		partition := partitions.Index(i)
		number := partition
		if partition.Kind() == reflect.Struct {
			number = partition.FieldByName("Partition")
		}
		if number.Kind() == reflect.Int32 {
			visit(int32(number.Int()), partition)
		}
	}
}
