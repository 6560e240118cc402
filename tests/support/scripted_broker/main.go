// Command scripted-broker runs franz-go's fake Kafka cluster behind rules that a test changes while it runs.
//
// It first prints its addresses, then reads one command a line from standard input and prints one result a line, all
// in JSON. It ends when standard input does, and so with the test that started it.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/twmb/franz-go/pkg/kfake"
)

type command struct {
	Do        string            `json:"do"`
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Count     int32             `json:"partitions"`
	Config    map[string]string `json:"config"`
	Node      int32             `json:"node"`
	Rule      ruleSpec          `json:"rule"`
	ID        int               `json:"id"`
	From      int               `json:"from"`
}

type result struct {
	Value any    `json:"value"`
	Error string `json:"error,omitempty"`
}

func main() {
	brokers := flag.Int("brokers", 1, "number of brokers, numbered from 0")
	flag.Parse()
	s := &script{}
	nodes := int32(0)
	listen := func(network, address string) (net.Listener, error) {
		inner, err := net.Listen(network, address)
		nodes++ // the cluster opens its listeners in the order of its nodes
		return &listener{Listener: inner, script: s, node: nodes - 1}, err
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(*brokers), kfake.ListenFn(listen))
	if err != nil {
		log.Fatal(err)
	}
	answers := json.NewEncoder(os.Stdout)
	write(answers, result{Value: cluster.ListenAddrs()})
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		value, err := run(line, cluster, s)
		if err != nil {
			write(answers, result{Error: err.Error()})
		} else {
			write(answers, result{Value: value})
		}
	}
}

func write(answers *json.Encoder, r result) {
	if err := answers.Encode(r); err != nil {
		log.Fatal(err)
	}
}

func run(line []byte, cluster *kfake.Cluster, s *script) (any, error) {
	var c command
	if err := json.Unmarshal(line, &c); err != nil {
		return nil, err
	}
	switch c.Do {
	case "create_topic":
		return nil, cluster.CreateTopic(c.Topic, c.Count, c.Config)
	case "delete_topic":
		return nil, cluster.DeleteTopic(c.Topic)
	case "move_leader":
		return nil, cluster.MoveTopicPartition(c.Topic, c.Partition, c.Node)
	case "leader_of":
		return cluster.LeaderFor(c.Topic, c.Partition), nil
	case "add_rule":
		return s.add(c.Rule)
	case "remove_rule":
		return nil, s.remove(c.ID)
	case "hits":
		return s.hits(c.ID)
	case "request_count":
		return s.count(), nil
	case "requests":
		return s.requestsFrom(c.From), nil
	case "connections":
		return s.connections(), nil
	}
	return nil, fmt.Errorf("no such command: %s", c.Do)
}
