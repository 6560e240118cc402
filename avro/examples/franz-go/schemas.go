package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hamba/avro/v2"
)

// record holds the values of a record by field name; those of an optional field are nil or of the other type.
type record = map[string]any

var singleObject = []byte{0xC3, 0x01}

// readSchemas returns the schemas of a directory, and of the releases in it, by the fingerprints of their values.
// Before the bridge is upgraded, put its schemas there.
func readSchemas(directory string) (map[uint64]avro.Schema, error) {
	newest, err := filepath.Glob(filepath.Join(directory, "*.avsc"))
	if err != nil {
		return nil, err
	}
	released, err := filepath.Glob(filepath.Join(directory, "released", "*", "*.avsc"))
	if err != nil {
		return nil, err
	}
	schemas := map[uint64]avro.Schema{}
	for _, file := range append(released, newest...) {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		schema, err := avro.ParseBytesWithCache(text, "", &avro.SchemaCache{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		fingerprint, err := fingerprint(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		schemas[fingerprint] = schema
	}
	return schemas, nil
}

// fingerprint returns the specification's CRC-64-AVRO of a schema. hamba/avro keeps logical types in the canonical
// form, where the specification has none, so they are removed first.
func fingerprint(text []byte) (uint64, error) {
	var declared any
	if err := json.Unmarshal(text, &declared); err != nil {
		return 0, err
	}
	text, err := json.Marshal(withoutLogicalTypes(declared))
	if err != nil {
		return 0, err
	}
	schema, err := avro.ParseBytesWithCache(text, "", &avro.SchemaCache{})
	if err != nil {
		return 0, err
	}
	digest, err := schema.FingerprintUsing(avro.CRC64Avro)
	return binary.BigEndian.Uint64(digest), err
}

func withoutLogicalTypes(node any) any {
	switch node := node.(type) {
	case map[string]any:
		kept := map[string]any{}
		for name, value := range node {
			if name != "logicalType" {
				kept[name] = withoutLogicalTypes(value)
			}
		}
		return kept
	case []any:
		kept := make([]any, len(node))
		for place, value := range node {
			kept[place] = withoutLogicalTypes(value)
		}
		return kept
	}
	return node
}

func decode(schemas map[uint64]avro.Schema, value []byte) (record, error) {
	if len(value) < 10 || !bytes.HasPrefix(value, singleObject) {
		return nil, fmt.Errorf("the value is not in single-object encoding: is a registry set on the bridge?")
	}
	fingerprint := binary.LittleEndian.Uint64(value[2:10])
	schema, known := schemas[fingerprint]
	if !known {
		return nil, fmt.Errorf("no schema has the fingerprint %016x: get the newer schemas", fingerprint)
	}
	var decoded record
	return decoded, avro.Unmarshal(schema, value[10:], &decoded)
}
