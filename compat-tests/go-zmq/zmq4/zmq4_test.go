// Package zmq4 drives the broker with go-zeromq/zmq4: ZMTP of its own, without libzmq.
package zmq4

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/go-zeromq/zmq4/security/plain"
)

const patience = 20 * time.Second

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func connected(t *testing.T, socket zmq4.Socket) zmq4.Socket {
	if err := socket.Dial("tcp://" + os.Getenv("ZMQ")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}

func send(t *testing.T, socket zmq4.Socket, parts ...string) {
	message := zmq4.Msg{}
	for _, part := range parts {
		message.Frames = append(message.Frames, []byte(part))
	}
	if err := socket.SendMulti(message); err != nil {
		t.Fatal(err)
	}
}

func receives(t *testing.T, socket zmq4.Socket, parts ...string) {
	t.Helper()
	message, err := socket.Recv()
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%q", message.Frames)
	if expected := fmt.Sprintf("%q", parts); got != expected {
		t.Fatalf("%s, not %s", got, expected)
	}
}

func TestARequestIsAnsweredOK(t *testing.T) {
	requester := connected(t, zmq4.NewReq(patient(t)))
	for n := range 10 {
		send(t, requester, fmt.Sprint("request ", n))
		receives(t, requester, "OK")
	}
}

func TestAPipelineKeepsOrderAndParts(t *testing.T) {
	push, pull := connected(t, zmq4.NewPush(patient(t))), connected(t, zmq4.NewPull(patient(t)))
	for n := range 500 {
		send(t, push, fmt.Sprint(n), "", "part")
	}
	for n := range 500 {
		receives(t, pull, fmt.Sprint(n), "", "part")
	}
}

func TestASubscriberHearsItsTopics(t *testing.T) {
	publisher, subscriber := connected(t, zmq4.NewPub(patient(t))), connected(t, zmq4.NewSub(patient(t)))
	if err := subscriber.SetOption(zmq4.OptionSubscribe, "go"); err != nil {
		t.Fatal(err)
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		subscriber.Recv()
	}()
	// A subscription is on its way for a while.
	for waiting := true; waiting; {
		send(t, publisher, "go.first", "1")
		select {
		case <-heard:
			waiting = false
		case <-time.After(20 * time.Millisecond):
		}
	}
	send(t, publisher, "other", "2")
	send(t, publisher, "go.last", "3")
	for {
		message, err := subscriber.Recv()
		if err != nil {
			t.Fatal(err)
		}
		switch topic := string(message.Frames[0]); topic {
		case "go.first":
		case "go.last":
			return
		default:
			t.Fatalf("%q was not asked for", topic)
		}
	}
}

func TestADealerWithPlainGetsItsEnvelopesBack(t *testing.T) {
	dealer := connected(t, zmq4.NewDealer(patient(t), zmq4.WithSecurity(plain.Security("guest", "guest"))))
	for n := range 100 {
		send(t, dealer, fmt.Sprint(n), "", "request")
		receives(t, dealer, fmt.Sprint(n), "", "OK")
	}
}
