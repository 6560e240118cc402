package main

import (
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

var shown = map[string][]string{
	"quotes":    {"bid_price", "bid_size", "bid_exchange", "ask_price", "ask_size", "ask_exchange", "cleared"},
	"trades":    {"last_price", "size", "net_change"},
	"timesales": {"price", "size", "trade_exchange"},
	"control":   {"kind"},
}

// changes are relative to the message before, so never to be kept (net_change of a trade is another thing).
var changes = []string{"bid_change", "bid_size_change", "ask_change", "ask_size_change"}

// scales are those of the decimals that are shown; all others have nine decimal places.
var scales = map[string]int{"size": 6, "total_volume": 6}

type position struct{ session, seq int64 }

// marketState is what is known of each symbol on each topic, by the rules of the contract (avro/README.md).
type marketState struct {
	newest map[string]position
	fields map[string]record
	rows   map[string]map[string]record // of a topic, symbol and part, by price or exchange
}

func newMarketState() *marketState {
	return &marketState{map[string]position{}, map[string]record{}, map[string]map[string]record{}}
}

// show applies a record and returns what to print of the state after it; nil for a repeat.
func (m *marketState) show(schemas map[uint64]avro.Schema, message *kgo.Record) (record, error) {
	read, err := decode(schemas, message.Value)
	if err != nil {
		return nil, err
	}
	kind := message.Topic[strings.LastIndex(message.Topic, ".")+1:]
	line := record{"topic": message.Topic, "key": string(message.Key)}
	id := message.Topic + "/" + string(message.Key)
	if kind != "control" && m.isRepeat(id, read) {
		return nil, nil
	}
	if kind == "l2" {
		line["book"] = m.applyRows(id, read, "book", "price", "bid_size", "ask_size")
		line["quotes"] = m.applyRows(id, read, "quotes", "exchange", "bid_price", "bid_size", "ask_price", "ask_size")
		return line, nil
	}
	state := read
	if kind == "quotes" || kind == "trades" {
		state = m.merge(id, read)
	}
	for _, name := range shown[kind] {
		line[name] = text(name, state[name])
	}
	return line, nil
}

// isRepeat reports whether a record was seen before, or is of an older session.
func (m *marketState) isRepeat(id string, read record) bool {
	now := position{read["session_id"].(int64), read["seq"].(int64)}
	last, known := m.newest[id]
	if known && (now.session < last.session || now.session == last.session && now.seq <= last.seq) {
		return true
	}
	m.newest[id] = now
	return false
}

// merge returns the state from quotes or trades after one more record.
func (m *marketState) merge(id string, read record) record {
	state := m.fields[id]
	if state == nil || read["after_gap"].(bool) {
		state = record{}
	}
	for name, value := range read {
		if value != nil && !slices.Contains(changes, name) {
			state[name] = value
		}
	}
	for _, name := range read["cleared"].([]any) {
		state[name.(string)] = nil
	}
	m.fields[id] = state
	return state
}

// applyRows returns the columns of one part of a level-2 state, by price or exchange, after one more record.
func (m *marketState) applyRows(id string, read record, part, key string, columns ...string) map[string][]any {
	place := id + "/" + part
	rows := m.rows[place]
	if rows == nil || read["after_gap"].(bool) {
		rows = map[string]record{}
	}
	if slices.Contains(read["cleared"].([]any), any(part)) {
		rows = map[string]record{}
	} else if sent := read[part].([]any); len(sent) > 0 {
		if isFull, known := read["is_full"].(bool); !known || isFull {
			rows = map[string]record{}
		}
		for _, row := range sent {
			row := row.(record)
			rows[text(key, row[key]).(string)] = row
		}
		if isFull, known := read["is_full"].(bool); known && !isFull {
			maps.DeleteFunc(rows, func(_ string, row record) bool { return isZero(row["bid_size"]) && isZero(row["ask_size"]) })
		}
	}
	m.rows[place] = rows
	shown := map[string][]any{}
	for at, row := range rows {
		for _, column := range columns {
			shown[at] = append(shown[at], text(column, row[column]))
		}
	}
	return shown
}

func isZero(size any) bool { return size == nil || size == int64(0) }

// text returns a decimal as text with all its digits, and any other value as it is.
func text(name string, value any) any {
	if decimal, is := value.(*big.Rat); is {
		scale, known := scales[name]
		if !known {
			scale = 9
		}
		return decimal.FloatString(scale)
	}
	return value
}
