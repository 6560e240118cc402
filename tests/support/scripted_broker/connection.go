package main

import (
	"encoding/binary"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A listener puts the rules between the clients and one broker of the cluster.
type listener struct {
	net.Listener
	script *script
	node   int32
}

func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: inner, script: l.script, node: l.node, idle: make(chan struct{}, 1), closed: make(chan struct{})}
	c.idle <- struct{}{}
	l.script.opened()
	return c, nil
}

// A connection is what the cluster believes to be the client's: it reads requests from it and writes responses to it.
//
// As in Kafka, one request at a time is handled. The next is read when the response to the one before is written.
type connection struct {
	net.Conn
	script  *script
	node    int32
	unread  []byte        // rest of a request that the cluster has not read yet
	pending *exchange     // the request that the cluster is handling
	idle    chan struct{} // holds one token while no request is handled
	closed  chan struct{}
	once    sync.Once
}

func (c *connection) Read(p []byte) (int, error) {
	for len(c.unread) == 0 {
		select {
		case <-c.idle:
		case <-c.closed:
			return 0, io.EOF
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// next reads a request and either leaves to the cluster what the rules leave of it, or answers it.
func (c *connection) next() error {
	frame, err := readFrame(c.Conn)
	if err != nil {
		return err
	}
	x := parse(frame)
	if x == nil {
		c.pending, c.unread = &exchange{}, frame
		return nil
	}
	c.script.judge(x, c.node)
	switch {
	case x.disconnect == beforeHandling:
		c.Close()
		return io.EOF
	case x.nothingLeft():
		return c.answer(x, x.request.ResponseKind())
	case x.unanswered():
		c.unread = x.encodeRequest(frame)
		c.idle <- struct{}{}
	default:
		c.pending, c.unread = x, x.encodeRequest(frame)
	}
	return nil
}

// Write receives one whole response from the cluster.
func (c *connection) Write(frame []byte) (int, error) {
	x := c.pending
	if x.request == nil {
		return len(frame), c.send(frame)
	}
	response := x.request.ResponseKind()
	if err := response.ReadFrom(frame[responseHeaderBytes(response):]); err != nil {
		return 0, err
	}
	return len(frame), c.answer(x, response)
}

// answer writes a response changed by the rules, or ends the connection instead.
func (c *connection) answer(x *exchange, response kmsg.Response) error {
	x.amend(response)
	c.script.answered(x, response)
	for _, d := range x.delays {
		if !d.wait(c.closed) {
			return io.EOF
		}
	}
	if x.disconnect == afterHandling {
		c.Close()
		return io.EOF
	}
	if x.unanswered() {
		c.idle <- struct{}{}
		return nil
	}
	frame := make([]byte, responseHeaderBytes(response), 256)
	frame = response.AppendTo(frame)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	binary.BigEndian.PutUint32(frame[4:], x.correlation)
	return c.send(frame)
}

func (c *connection) send(frame []byte) error {
	if _, err := c.Conn.Write(frame); err != nil {
		return err
	}
	c.idle <- struct{}{}
	return nil
}

func (c *connection) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.script.ended()
	})
	return c.Conn.Close()
}

// readFrame returns a request with its leading size.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
	copy(frame, size[:])
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}

// parse returns nil for a request that is not understood; the cluster then decides what to do with it.
func parse(frame []byte) *exchange {
	reader := kbin.Reader{Src: frame[4:]}
	key, version, correlation := reader.Int16(), reader.Int16(), reader.Int32()
	client := reader.NullableString()
	request := kmsg.RequestForKey(key)
	if request == nil || !reader.Ok() {
		return nil
	}
	request.SetVersion(version)
	if request.IsFlexible() {
		kmsg.SkipTags(&reader)
	}
	body := len(frame) - len(reader.Src)
	if version > request.MaxVersion() || request.ReadFrom(frame[body:]) != nil {
		return nil
	}
	x := &exchange{request: request, correlation: uint32(correlation), bodyAt: body, rejected: map[partitionKey]verdict{}}
	x.entry = &entry{Key: kmsg.NameForKey(key), Version: version, Bytes: len(frame)}
	if client != nil {
		x.entry.ClientID = *client
	}
	return x
}

// responseHeaderBytes is the length of a response's size, correlation ID and, in flexible versions, tags. ApiVersions
// has no tags, so that clients can read it before they know which versions there are (KIP-511).
func responseHeaderBytes(response kmsg.Response) int {
	if response.IsFlexible() && response.Key() != int16(kmsg.ApiVersions) {
		return 9
	}
	return 8
}
