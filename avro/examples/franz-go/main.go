// Read the topics with franz-go and hamba/avro, without a registry.
//
// go run . BOOTSTRAP_SERVERS TOPIC_PREFIX SCHEMAS (the directory of the .avsc files)
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: franz-go BOOTSTRAP_SERVERS TOPIC_PREFIX SCHEMAS")
	}
	bootstrapServers, prefix, directory := os.Args[1], os.Args[2], os.Args[3]
	schemas, err := readSchemas(directory)
	if err != nil {
		log.Fatal(err)
	}
	var topics []string
	for _, topic := range []string{"quotes", "trades", "timesales", "l2", "control"} {
		topics = append(topics, prefix+"."+topic)
	}
	// No group: the state is in memory, so that each start reads from the beginning.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrapServers, ",")...),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	market := newMarketState()
	for {
		fetches := client.PollFetches(context.Background())
		fetches.EachError(func(topic string, partition int32, err error) {
			log.Fatalf("%s, partition %d: %v", topic, partition, err)
		})
		fetches.EachRecord(func(message *kgo.Record) {
			line, err := market.show(schemas, message)
			if err != nil {
				log.Fatalf("%s, offset %d: %v", message.Topic, message.Offset, err)
			}
			if line != nil {
				text, _ := json.Marshal(line)
				fmt.Println(string(text))
			}
		})
	}
}
